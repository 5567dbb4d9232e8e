"""What runs on the chip: programs (operations and shapes), routing traces, arrivals."""
