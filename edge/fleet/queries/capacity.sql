-- title: Capacity and health
-- Looms that are too slow for their cloth, or whose camera, broker or record fails.
SELECT l.loom, l.state, coalesce(g.dropped_m, 0) AS dropped_m, coalesce(e.cameras, 0) AS camera_events,
    coalesce(e.brokers, 0) AS broker_events, coalesce(e.records, 0) AS record_events,
    coalesce(e.stops, 0) AS stops, round(l.last_lag_s::numeric, 1) AS lag_s, l.loomsight
FROM looms l
LEFT JOIN (
    SELECT loom, round(sum(lost_m)::numeric, 1) AS dropped_m FROM daily_gaps
    WHERE reason = 'dropped' AND day >= plant_time(:from_utc)::date AND day <= plant_time(:to_utc)::date GROUP BY loom
) g USING (loom)
LEFT JOIN (
    SELECT loom, sum(events) FILTER (WHERE kind LIKE 'camera%') AS cameras,
        sum(events) FILTER (WHERE kind LIKE 'broker%' OR kind LIKE 'message%') AS brokers,
        sum(events) FILTER (WHERE kind LIKE 'record%') AS records,
        sum(events) FILTER (WHERE kind = 'stop') AS stops
    FROM daily_events WHERE day >= plant_time(:from_utc)::date AND day <= plant_time(:to_utc)::date GROUP BY loom
) e USING (loom)
ORDER BY dropped_m DESC, camera_events DESC, l.loom
