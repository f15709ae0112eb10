"""What makes verl's FSDP trainer fast enough on a CPU: sequences packed without padding or repeated prompts."""
