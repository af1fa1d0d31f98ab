-- title: Last rolls
-- The rolls that ended last.
SELECT loom, roll, article, status, started_utc, ended_utc, round(inspected_m::numeric, 2) AS inspected_m, defects,
    points, round(points_per_100_m2::numeric, 1) AS points_per_100_m2, grade
FROM rolls WHERE started_utc >= :from_utc AND started_utc < :to_utc
ORDER BY started_utc DESC, roll_id LIMIT 50
