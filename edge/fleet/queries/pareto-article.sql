-- title: Defects by article
-- Which few make most of the defects.
SELECT coalesce(nullif(name, ''), 'unknown') AS article, sum(defects) AS defects, sum(points) AS points,
    round(100 * sum(defects) / sum(sum(defects)) OVER (), 1) AS percent,
    round(100 * sum(sum(defects)) OVER (ORDER BY sum(defects) DESC, name) / sum(sum(defects)) OVER (), 1)
        AS cumulated_percent
FROM daily_defects
WHERE dimension = 'article' AND day >= plant_time(:from_utc)::date AND day <= plant_time(:to_utc)::date
GROUP BY name ORDER BY defects DESC, name LIMIT 50
