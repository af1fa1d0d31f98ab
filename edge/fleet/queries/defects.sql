-- title: Last defects
-- What was found last, with what people said of it.
SELECT d.utc, d.loom, d.roll, d.article, d.class_name AS class, d.kind, round(d.score::numeric, 2) AS score,
    round(d.start_m::numeric, 2) AS start_m, d.points, v.verdict
FROM defects d LEFT JOIN last_verdicts v ON v.defect_id = d.event_id
WHERE d.utc >= :from_utc AND d.utc < :to_utc ORDER BY d.utc DESC, d.event_id LIMIT 50
