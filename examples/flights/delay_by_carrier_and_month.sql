-- How late flights leave and arrive, by airline and month.
CREATE MATERIALIZED VIEW delay_by_carrier_and_month AS
SELECT data.carrier AS carrier,
       extract(month FROM data.date) AS month,
       count(*) FILTER (WHERE event_type = 'flight.departed') AS departed,
       avg(CASE WHEN event_type = 'flight.departed' THEN data.delay_minutes END) AS departure_delay_minutes,
       avg(CASE WHEN event_type = 'flight.arrived' THEN data.delay_minutes END) AS arrival_delay_minutes,
       max(data.delay_minutes) AS longest_delay_minutes
FROM flights
GROUP BY data.carrier, extract(month FROM data.date);
