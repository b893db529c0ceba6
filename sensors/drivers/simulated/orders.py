"""Pizza orders: nested events of business, one row a topping. After Aiven's fake data producer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensors.batch import Batch, Ints, Text
from sensors.drivers.simulated.base import Simulated
from sensors.units import MILLISECOND, SECOND

SHOPS = ("Marios Pizza", "Luigis Pizza", "Circular Pi Pizzeria", "Ill Make You a Pizza You Cant Refuse",
         "Mammamia Pizza", "Its-a me! Mario Pizza!")  # fmt: skip
PIZZAS = ("Margherita", "Marinara", "Diavola", "Mari & Monti", "Salami", "Peperoni")
TOPPINGS = ("🍅 tomato", "🧀 blue cheese", "🥚 egg", "🫑 green peppers", "🌶️ hot pepper", "🥓 bacon", "🫒 olives",
            "🧄 garlic", "🐟 tuna", "🧅 onion", "🍍 pineapple", "🍓 strawberry", "🍌 banana")  # fmt: skip
PROHIBITED = TOPPINGS[10:]
CUSTOMERS = ("Jason Brown", "Ada Conti", "Liu Wei", "Marta Ruiz", "Olu Adeyemi", "Kim Larsen", "Ravi Patel",
             "Sofia Rossi")  # fmt: skip

_BLOCK_ORDERS = 256


@dataclass(frozen=True, slots=True)
class OrderBlock:
    """Orders as arrays: `o` orders, `p` pizzas of them, `t` toppings of those.

    Attributes:
        first: id of the first order.
        time: `(o,)` ns, whole milliseconds.
        shop: `(o,)` index into `SHOPS`.
        customer: `(o,)` index into `CUSTOMERS`.
        pizzas: `(o,)` pizzas of each order, 1 to 10.
        pizza: `(p,)` index into `PIZZAS`.
        toppings: `(p,)` toppings of each pizza, 0 to 5.
        topping: `(t,)` index into `TOPPINGS`.
    """

    first: int
    time: Ints
    shop: Ints
    customer: Ints
    pizzas: Ints
    pizza: Ints
    toppings: Ints
    topping: Ints

    def documents(self) -> list[dict[str, Any]]:
        """The orders as the producer writes them in JSON."""
        topping, pizza = iter(self.topping.tolist()), iter(self.pizza.tolist())
        counts = iter(self.toppings.tolist())
        return [
            {
                "id": self.first + row,
                "shop": SHOPS[self.shop[row]],
                "name": CUSTOMERS[self.customer[row]],
                "phoneNumber": f"(555)010-{(self.first + row) % 10000:04d}",
                "address": f"{100 + (self.first + row) % 900} Samuel Summit\nRyanbury, PA 62847",
                "pizzas": [
                    {
                        "pizzaName": PIZZAS[next(pizza)],
                        "additionalToppings": [TOPPINGS[next(topping)] for _ in range(next(counts))],
                    }
                    for _ in range(count)
                ],
                "timestamp": int(self.time[row]) // MILLISECOND,
            }
            for row, count in enumerate(self.pizzas.tolist())
        ]

    def rows(self, machines: tuple[str, ...] = SHOPS) -> Batch:
        """One row a topping; an order without any has one row whose topping is missing."""
        order_of_pizza = np.repeat(np.arange(len(self.time)), self.pizzas)
        order_of_topping = np.repeat(order_of_pizza, self.toppings)
        bare = np.flatnonzero(np.bincount(order_of_topping, minlength=len(self.time)) == 0)
        order = np.concatenate([order_of_topping, bare])
        topping = np.concatenate([self.topping, np.full(len(bare), -1)]).astype(np.int32)
        pizza = np.concatenate([np.repeat(self.pizza, self.toppings), np.full(len(bare), -1)]).astype(np.int32)
        rank = np.argsort(order, kind="stable")
        order = order[rank]
        time = self.time[order]
        return Batch(
            machines,
            self.shop[order].astype(np.int32),
            time,
            {"id": (self.first + order).astype(np.float64)},
            read_at=int(time[-1]),
            texts={
                "name": Text(CUSTOMERS, self.customer[order].astype(np.int32)),
                "pizzaName": Text(PIZZAS, pizza[rank]),
                "topping": Text(TOPPINGS, topping[rank]),
            },
        )


@dataclass(kw_only=True)
class Orders(Simulated):
    """Orders of six shops, exploded to one row a topping: `id`, texts `name`, `pizzaName` and `topping`.

    1 to 10 pizzas an order, 0 to 5 toppings each, 13 toppings with equal chance of which three are prohibited.
    The machine is the shop. There is no label: which toppings are wrong is the rule's affair.

    Attributes:
        rate: orders a second, on average; the time between two is random.
        max_pizzas: most pizzas of an order.
        max_toppings: most toppings of a pizza.
    """

    rate: float = 2.0
    max_pizzas: int = 10
    max_toppings: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.rate > 0 or self.max_pizzas < 1 or self.max_toppings < 0:
            raise ValueError("rate and max_pizzas must be above zero, max_toppings not below")

    def outputs(self) -> tuple[str, ...]:
        return ("id", "name", "pizzaName", "topping")

    def blocks(self, start: int) -> Iterator[Batch]:
        for block in self.orders(start):
            yield block.rows()

    def orders(self, start: int) -> Iterator[OrderBlock]:
        """The orders themselves, for a producer of JSON."""
        rng = np.random.default_rng(self.seed)
        first, clock = 0, start // MILLISECOND * MILLISECOND
        while True:
            n = _BLOCK_ORDERS
            gaps = rng.exponential(SECOND / self.rate, n) // MILLISECOND * MILLISECOND
            time = clock + np.cumsum(gaps.astype(np.int64))
            clock = int(time[-1])
            pizzas = rng.integers(1, self.max_pizzas + 1, n)
            toppings = rng.integers(0, self.max_toppings + 1, int(pizzas.sum()))
            yield OrderBlock(
                first,
                time,
                rng.integers(0, len(SHOPS), n),
                rng.integers(0, len(CUSTOMERS), n),
                pizzas,
                rng.integers(0, len(PIZZAS), len(toppings)),
                toppings,
                rng.integers(0, len(TOPPINGS), int(toppings.sum())),
            )
            first += n
