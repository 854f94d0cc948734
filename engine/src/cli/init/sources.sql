-- The source of the events: here a file with one JSON object per line.
CREATE EXTERNAL TABLE orders (
  order_id    BIGINT NOT NULL,
  customer_id BIGINT,
  country     VARCHAR,
  total       DECIMAL(12, 2),
  placed_at   TIMESTAMP,
  _sequence   BIGINT UNSIGNED  -- filled from the event, not from its body; so are _subject, _timestamp, _headers, _payload
)
STORED AS FILE
LOCATION 'events.jsonl';

-- The same events from a stream ORDERS of NATS JetStream:
--
-- CREATE EXTERNAL TABLE orders (
--   order_id    BIGINT NOT NULL,
--   customer_id BIGINT,
--   country     VARCHAR,
--   total       DECIMAL(12, 2),
--   placed_at   TIMESTAMP,
--   _sequence   BIGINT UNSIGNED
-- )
-- STORED AS NATS
-- LOCATION 'nats://127.0.0.1:4222/ORDERS'
-- OPTIONS (subject 'orders.placed.>');
