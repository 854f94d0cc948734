-- Every cancelled flight as a row: an insert-only view.
CREATE MATERIALIZED VIEW cancelled_flights AS
SELECT aggregate_id, data.carrier AS carrier, data.origin AS origin, data.dest AS dest,
       data.scheduled_departure AS scheduled_departure, metadata.causation_id AS cause
FROM flights
WHERE event_type = 'flight.cancelled';
