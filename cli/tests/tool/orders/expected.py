"""What `palisade replay orders` must say of the excerpts, by other means: python3 expected.py"""
import csv
import datetime as d
import pathlib

UTC = d.timezone.utc
HERE = pathlib.Path(__file__).parent


def cents(text):
    major, _, minor = text.partition(".")
    return int(major) * 100 + int((minor + "00")[:2])


def cdnow():
    for number, line in enumerate(open(HERE / "excerpt.txt"), 1):
        if number > 1 and line.strip():
            customer, day, _, dollars = line.split()
            yield number, customer, d.datetime.strptime(day + "+0000", "%Y%m%d%z"), cents(dollars)


def quoted():
    for row in csv.DictReader(open(HERE / "excerpt.csv")):
        at = d.datetime.fromisoformat(row["at"])
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        yield row["order_id"], row["customer_id"], at, cents(row["amount"])


def report(orders, now):
    customers = {}
    for order, customer, at, amount in orders:
        if at <= now:
            last, counted = customers.get(customer, (at, {}))
            counted.setdefault(order, amount)
            customers[customer] = max(last, at), counted
    segments = dict(returning=0, at_risk=0, churned=0, vip=0)
    for last, counted in customers.values():
        quiet = now - last
        vip = sum(counted.values()) > 50000 or len(counted) > 5
        churned, at_risk = quiet >= d.timedelta(90), quiet >= d.timedelta(30)
        segments["vip" if vip else "churned" if churned else "at_risk" if at_risk else "returning"] += 1
    orders = [amount for _, counted in customers.values() for amount in counted.values()]
    return dict(customers=len(customers), orders=len(orders), spend=sum(orders), segments=segments)


for read in cdnow, quoted:
    print(read.__name__, report(read(), d.datetime(1998, 7, 1, tzinfo=UTC)))
    print(read.__name__, report(read(), d.datetime(1998, 8, 1, tzinfo=UTC)))
