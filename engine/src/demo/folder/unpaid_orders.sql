-- An order is here until its payment arrives.
CREATE MATERIALIZED VIEW unpaid_orders AS
SELECT order_id, customer_id, country, total, placed_at
FROM orders
WHERE NOT EXISTS (
  SELECT 1 FROM payments
  WHERE payments.order_id = orders.order_id
);
