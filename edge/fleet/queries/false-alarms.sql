-- title: False alarms by verdicts
-- Of the defects that people looked at: what they rejected, by what the detector called them.
SELECT detected_class_name AS class, coalesce(kind, '') AS kind, count(*) AS looked_at,
    count(*) FILTER (WHERE verdict = 'rejected') AS rejected,
    count(*) FILTER (WHERE verdict = 'confirmed' AND class_name IS NOT NULL
        AND class_name <> detected_class_name) AS renamed,
    round(100.0 * count(*) FILTER (WHERE verdict = 'rejected') / count(*), 1) AS false_alarm_percent
FROM last_verdicts
WHERE defect_utc >= :from_utc AND defect_utc < :to_utc AND verdict <> 'undone'
GROUP BY 1, 2 ORDER BY rejected DESC, looked_at DESC, class, kind
