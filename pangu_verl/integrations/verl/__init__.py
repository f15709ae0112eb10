"""The only room that imports verl, ray or transfer_queue: thin adapters, no policy of their own."""
