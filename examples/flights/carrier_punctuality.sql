-- Airlines with more than a thousand arrivals, and the share of arrivals that were on time.
CREATE MATERIALIZED VIEW carrier_punctuality AS
SELECT data.carrier AS carrier,
       count(*) AS arrivals,
       count(*) FILTER (WHERE data.delay_minutes <= 15) * 100.0e0 / count(*) AS on_time_percent
FROM flights
WHERE event_type = 'flight.arrived'
GROUP BY data.carrier
HAVING count(*) > 1000;
