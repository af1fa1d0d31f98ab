-- title: Versions of models
-- Which models and programs ran on which looms, and what they graded.
SELECT left(model_digest, 12) AS model, loomsight, count(DISTINCT loom) AS looms, count(*) AS rolls,
    min(started_utc) AS first_utc, max(started_utc) AS last_utc, round(sum(inspected_m)::numeric, 1) AS inspected_m,
    sum(defects) AS defects
FROM rolls WHERE started_utc >= :from_utc AND started_utc < :to_utc
GROUP BY model_digest, loomsight ORDER BY last_utc DESC, model
