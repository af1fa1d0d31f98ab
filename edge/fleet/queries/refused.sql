-- title: Refused messages
-- What devices sent and the office does not understand; `loomsight office reread` tries again.
SELECT reason, count(*) AS messages, max(received_utc) AS last_utc, min(topic) AS a_topic
FROM refused GROUP BY reason ORDER BY messages DESC, reason LIMIT 50
