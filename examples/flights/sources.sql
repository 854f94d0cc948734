-- The events of every flight that left New York City in 2013: scheduled, departed, arrived, cancelled.
CREATE EXTERNAL TABLE flights (
  event_id     VARCHAR NOT NULL,
  event_type   VARCHAR NOT NULL,
  aggregate_id VARCHAR NOT NULL,
  version      INT NOT NULL,
  timestamp    TIMESTAMP NOT NULL,
  data         STRUCT<date DATE, carrier VARCHAR, flight INT, origin VARCHAR, dest VARCHAR, tailnum VARCHAR,
                      distance_miles INT, scheduled_departure TIMESTAMP, scheduled_hour INT,
                      delay_minutes INT, air_minutes INT>,
  metadata     STRUCT<correlation_id VARCHAR, causation_id VARCHAR>
)
STORED AS NATS
LOCATION 'nats://127.0.0.1:4222/FLIGHTS';

-- The hourly weather at the three airports of the city.
CREATE EXTERNAL TABLE weather (
  event_id     VARCHAR NOT NULL,
  aggregate_id VARCHAR NOT NULL,
  timestamp    TIMESTAMP NOT NULL,
  data         STRUCT<origin VARCHAR, hour TIMESTAMP, temperature_f DECIMAL(7, 2), wind_speed_mph DOUBLE,
                      precipitation_inches DECIMAL(7, 2), visibility_miles DECIMAL(7, 2)>
)
STORED AS NATS
LOCATION 'nats://127.0.0.1:4222/WEATHER';

-- The names of airlines, one event per airline. The stream also holds events of airports and planes.
CREATE EXTERNAL TABLE airlines (
  aggregate_id VARCHAR NOT NULL,
  data         STRUCT<carrier VARCHAR, name VARCHAR>
)
STORED AS NATS
LOCATION 'nats://127.0.0.1:4222/REFERENCE'
OPTIONS (subject 'reference.airline.>');
