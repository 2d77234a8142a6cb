"""What a container may do: capabilities, users, masked paths, devices."""
