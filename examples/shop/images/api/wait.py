"""Wait until the database accepts connections; for init containers."""

import sys
import time

import database
import psycopg2


def main() -> None:
    deadline = time.monotonic() + 120
    said = ""
    while True:
        try:
            database.connect().close()
        except psycopg2.OperationalError as error:
            text = " ".join(str(error).split())
            if text != said:
                print(f"waiting: {text}", flush=True)
                said = text
            if time.monotonic() > deadline:
                sys.exit("the database did not answer within two minutes")
            time.sleep(0.5)
        else:
            print("the database answers", flush=True)
            return


if __name__ == "__main__":
    main()
