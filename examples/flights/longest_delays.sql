-- The twenty longest delays of the year.
CREATE MATERIALIZED VIEW longest_delays AS
SELECT aggregate_id, data.carrier AS carrier, data.delay_minutes AS delay_minutes
FROM flights
WHERE event_type = 'flight.arrived' AND data.delay_minutes >= 300
ORDER BY delay_minutes DESC, aggregate_id
LIMIT 20;
