-- title: Gaps by reason
-- Why cloth was not inspected, and at which looms most of it.
SELECT reason, sum(gaps) AS gaps, round(sum(lost_m)::numeric, 1) AS lost_m, count(DISTINCT loom) AS looms,
    (array_agg(loom ORDER BY lost_m DESC, loom))[1] AS worst_loom
FROM daily_gaps WHERE day >= plant_time(:from_utc)::date AND day <= plant_time(:to_utc)::date AND gaps > 0
GROUP BY reason ORDER BY lost_m DESC, reason
