-- title: Coverage by loom
-- Of what each loom wove: how much was inspected.
SELECT loom, count(*) AS rolls, round(sum(passed_m)::numeric, 1) AS passed_m,
    round(sum(inspected_m)::numeric, 1) AS inspected_m,
    round((100 * sum(inspected_m) / nullif(sum(passed_m), 0))::numeric, 2) AS coverage_percent,
    round((sum(points) FILTER (WHERE points_per_100_m2 > 0)
        / nullif(sum(points / points_per_100_m2) FILTER (WHERE points_per_100_m2 > 0), 0))::numeric, 1)
        AS points_per_100_m2
FROM rolls WHERE started_utc >= :from_utc AND started_utc < :to_utc
GROUP BY loom ORDER BY coverage_percent NULLS FIRST, loom
