"""The commands of each room, as they are typed; `ringback.cli` puts them together."""
