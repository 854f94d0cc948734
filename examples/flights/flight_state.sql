-- The state of each flight after its latest event: the read model that an event-sourced service would query.
CREATE MATERIALIZED VIEW flight_state AS
SELECT aggregate_id,
       max(version) AS version,
       last_value(event_type ORDER BY version) AS state,
       last_value(timestamp ORDER BY version) AS since,
       max(data.delay_minutes) AS longest_delay_minutes
FROM flights
GROUP BY aggregate_id;
