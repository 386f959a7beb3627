"""Create the tables and load the catalogue (a JSON file). May run any number of times: items that are there stay as they are."""

import json
import sys

import database


def main(path: str) -> None:
    with open(path, encoding="utf-8") as file:
        items = json.load(file)
    connection = database.connect()
    with connection, connection.cursor() as cursor:
        cursor.execute(database.SCHEMA)
        added = 0
        for item in items:
            cursor.execute(
                "INSERT INTO items VALUES (%(id)s, %(name)s, %(price_cents)s, %(stock)s) ON CONFLICT DO NOTHING", item
            )
            added += cursor.rowcount
    connection.close()
    print(f"{added} of {len(items)} items added, the others were there")


if __name__ == "__main__":
    main(sys.argv[1])
