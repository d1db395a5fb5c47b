"""Ten users, a hundred films, one newcomer: every step from rows to a recommendation, followed by hand.

    python examples/tiny_world.py

The library does each step; NumPy does it again beside it, with nothing but the formula; the two must agree.
"""

import numpy as np
import polars as pl
import torch

import acclimate as ac
from acclimate.data import sample_tasks

np.set_printoptions(precision=3, suppress=True, linewidth=110)
torch.set_num_threads(1)


def heading(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


# ------------------------------------------------------------------------------------------------
heading("1. Rows: who gave which film how many stars")
# A hundred films of four genres. Each of ten users loves one genre (5 stars), cannot stand another (1), and
# gives the rest 3; one star more or less is chance. Everybody has rated forty films.
rng = np.random.default_rng(0)
GENRES = ["comedy", "drama", "horror", "western"]
films = pl.DataFrame(
    {"item_id": [f"film-{i:02d}" for i in range(100)], "genre": [GENRES[i % 4] for i in range(100)]}
)
rows = []
for u in range(10):
    loved, hated = u % 4, (u + 1 + u // 4) % 4
    for i in sorted(rng.choice(100, size=40, replace=False)):
        stars = (5 if i % 4 == loved else 1 if i % 4 == hated else 3) + rng.integers(-1, 2)
        rows.append((f"user-{u}", f"film-{i:02d}", int(np.clip(stars, 1, 5))))
ratings = pl.DataFrame(rows, schema=["user_id", "item_id", "rating"], orient="row")
print(ratings.head(4))
print(films.head(4))

# ------------------------------------------------------------------------------------------------
heading("2. Ids become rows, events become columns")
data = ac.read(ratings, items=films, name="tiny world")
print(data)
print("user-3 is row", int(data.user_ids.encode(["user-3"])[0]))
print("film-42 is row", int(data.item_ids.encode(["film-42"])[0]))
inter = data.interactions
print("the events of user u are offsets[u]:offsets[u + 1] of flat columns")
print("offsets =", inter.offsets.tolist())
print("user-0 rated the film rows ", inter.items[:6].tolist(), "...")
print("           with the values ", inter.values[:6].tolist(), "...")
print("a genre is a code from 1 on, 0 means unknown:", data.items.columns["genre"][:4].tolist(), "=", GENRES)

# ------------------------------------------------------------------------------------------------
heading("3. A task: a few ratings to learn from, others to be judged on")
tasks = sample_tasks(
    data, torch.arange(10), support=(1, 5), query=4, generator=torch.Generator().manual_seed(1)
)
batch = tasks.batch(torch.tensor([0, 1]))  # two users, padded to the longer support
print("support items  [B, S] =", batch.support.items.ids.tolist(), "(-1 is padding)")
print("support values [B, S] =", batch.support.values.tolist())
print("support mask   [B, S] =", batch.support.mask.tolist())
print("query items    [B, Q] =", batch.query.items.ids.tolist())

# ------------------------------------------------------------------------------------------------
heading("4. Meta-training: two thousand such tasks, through the solve of step 6")
# Vectors of width 3 (and a constant 1) can still be printed. A real run takes 32, and far more users.
model = ac.fit(
    data,
    ac.ridge(
        embedding_size=3, support=(1, 8), query=30, epochs=200, batch_size=10, outer_lr=0.02, id_decay=2.0
    ),
)
head = model.recommender
vectors = head.item_vectors(data.catalogue()).double().numpy()  # [100, D + 1]
phi, base = vectors[:, :-1], vectors[:, -1]
print("learned, the same for everybody: a vector and a base line for each film, such as")
for i in (0, 4, 3, 7):
    print(f"    film-{i:02d} ({GENRES[i % 4]:7}) phi = {phi[i]}  base line = {base[i]:.3f}")

# ------------------------------------------------------------------------------------------------
heading("5. A newcomer gives three ratings")
# Films 3 and 7 are westerns, film 2 is a horror film. Nobody has ever seen this person.
events = [("film-03", 5), ("film-07", 5), ("film-02", 1)]
shown = data.item_ids.encode([item for item, _ in events])
r = np.array([value for _, value in events], dtype=np.float64)
for item, value in events:
    print(f"{item} ({GENRES[int(item[-2:]) % 4]}), {value} of 5 stars")

# ------------------------------------------------------------------------------------------------
heading("6. The solve, by hand")
Phi, beta = phi[shown], base[shown]
P = np.diag(np.exp(head.log_precision.double().numpy()))  # how little users differ along each direction
tau = float(np.exp(head.log_noise.double().item()))  # how much one rating is to be trusted
m = head.prior.fields[0].double().numpy()  # there are no user fields, so the prior mean is one for all
print(f"Phi, the shown films' vectors (the last entry is the constant 1):\n{Phi}")
print(f"y = ratings - base line = {r} - {beta} = {r - beta}")
print(f"m, the prior mean = {m}")
print(f"P, the prior precision, is diagonal: {np.diag(P)}")
print(f"tau, the precision of one rating = {tau:.3f}")

A = P + tau * Phi.T @ Phi
b = tau * Phi.T @ (r - beta - Phi @ m)
w = m + np.linalg.solve(A, b)
print(f"A = P + tau Phi' Phi =\n{A}")
print(f"b = tau Phi' (y - Phi m) = {b}")
print(f"w = m + A^-1 b = {w}  <- all that is known of this person")

# ------------------------------------------------------------------------------------------------
heading("7. The list: base line + phi . w, for every film not yet rated")
by_hand = base + phi @ w
# Nobody can give more than 5 stars: predictions are clipped to that, after the films have been put in order.
order = [i for i in np.argsort(-by_hand, kind="stable") if i not in set(shown.tolist())][:5]
listed = model.recommend(events=events, k=5)
beside = listed.drop("user_id").with_columns(
    pl.Series("by hand", np.clip(by_hand[order], *data.value_range)),
    pl.Series("genre", [GENRES[i % 4] for i in order]),
)
print(beside)
assert listed["item_id"].to_list() == data.item_ids.decode(torch.tensor(order)).to_list()
np.testing.assert_allclose(beside["score"].to_numpy(), beside["by hand"].to_numpy(), atol=1e-4)

# ------------------------------------------------------------------------------------------------
heading("8. Why: what each rating added")
# The solve is linear in the ratings, so the score is the prior's plus one term for each of them, exactly.
best = order[0]
errors = tau * Phi * (r - beta - Phi @ m)[:, None]  # [3, D], one row for each rating; they sum to b
parts = errors @ np.linalg.solve(A, phi[best])
reasons = model.explain(events=events, item=listed["item_id"][0])
print(reasons.drop("method"))
print(f"by hand: prior {base[best] + phi[best] @ m:.4f}, events {parts}, total {by_hand[best]:.4f}")
added = reasons.filter(pl.col("part") == "event")["contribution"]
np.testing.assert_allclose(added.to_numpy(), parts, atol=1e-4)

# ------------------------------------------------------------------------------------------------
heading("9. How sure: the deviation before and after")
before = np.sqrt(phi[best] @ np.linalg.solve(P, phi[best]))
after = np.sqrt(phi[best] @ np.linalg.solve(A, phi[best]))
print(f"of the first film in the list: {before:.3f} stars with no rating, {after:.3f} after three")
np.testing.assert_allclose(listed["deviation"][0], after, atol=1e-4)

print("\nThe library and the pencil agree.")
