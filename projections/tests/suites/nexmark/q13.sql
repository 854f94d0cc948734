-- In Nexmark, the side table is a file; here it is a stream.
SELECT b.auction, b.bidder, b.price, b.date_time, s.value
FROM bid b JOIN side_input s ON b.auction % 100 = s.code;
