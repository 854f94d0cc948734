CREATE EXTERNAL TABLE orders (
  order_id    BIGINT NOT NULL,
  country     VARCHAR,
  total       DECIMAL(12, 2),
  placed_at   TIMESTAMP
)
STORED AS NATS
LOCATION 'nats://nats:4222/ORDERS'
OPTIONS (subject 'orders.placed.>');
