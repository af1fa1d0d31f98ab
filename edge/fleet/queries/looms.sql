-- title: Looms at a glance
-- Each loom: is it there, what does it weave, what was found lately, and what is wrong.
SELECT l.loom, l.state, l.last_received_utc AS heard_utc, r.roll, r.article, r.status AS roll_status,
    r.inspected_m AS inspected_m, round((100 * r.inspected_m / nullif(r.passed_m, 0))::numeric, 1) AS coverage_percent,
    coalesce(d.defects, 0) AS defects, coalesce(d.points, 0) AS points,
    concat_ws(', ',
        CASE WHEN l.name_conflict_utc > :to_utc - interval '1 day' THEN 'two devices of this name' END,
        CASE WHEN l.last_lag_s < -60 THEN 'clock ahead' END,
        CASE WHEN l.last_lag_s > 86400 THEN 'late, or clock behind' END,
        CASE WHEN l.state = 'lost' THEN 'connection lost' END
    ) AS trouble
FROM looms l
LEFT JOIN LATERAL (
    SELECT * FROM rolls r WHERE r.loom = l.loom AND r.started_utc < :to_utc ORDER BY r.started_utc DESC LIMIT 1
) r ON true
LEFT JOIN (
    SELECT loom, count(*) AS defects, sum(points) AS points FROM defects
    WHERE utc >= :to_utc - interval '1 day' AND utc < :to_utc GROUP BY loom
) d ON d.loom = l.loom
ORDER BY trouble DESC, defects DESC, l.loom
