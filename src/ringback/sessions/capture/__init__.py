"""Packets and files to messages: HEP, pcap, SIP, SDP, media figures."""
