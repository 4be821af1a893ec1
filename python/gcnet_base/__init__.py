"""What data preparation and gcnet both stand on: errors, the protocol, files, processes, paths."""
