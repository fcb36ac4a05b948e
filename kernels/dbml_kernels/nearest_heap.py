"""The k nearest of what passes by, one heap a query: the farthest is on top, and of equal distances the later row.

A heap is three arrays of k: distances (infinite where nothing is yet), positions, labels.
"""

from __future__ import annotations

from dbml_kernels.jit import kernel


@kernel(exact=True)
def is_after(distance, position, other_distance, other_position):
    """Whether a row comes after another one in the order of neighbours."""
    return distance > other_distance or (distance == other_distance and position > other_position)


@kernel(exact=True)
def heap_sink(distance, position, label, place, size, d, p, y):
    """Put (d, p, y) where `place` was, below which everything is a heap of `size`."""
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and is_after(distance[child + 1], position[child + 1], distance[child], position[child]):
            child += 1
        if not is_after(distance[child], position[child], d, p):
            break
        distance[place], position[place], label[place] = distance[child], position[child], label[child]
        place = child
    distance[place], position[place], label[place] = d, p, y


@kernel(exact=True)
def heap_offer(distance, position, label, d, p, y):
    """Take a row in place of the farthest, if it comes before that."""
    if is_after(distance[0], position[0], d, p):
        heap_sink(distance, position, label, 0, distance.shape[0], d, p, y)


@kernel(exact=True)
def heap_sort(distance, position, label):
    """Sort a heap, nearest first."""
    for size in range(distance.shape[0] - 1, 0, -1):
        d, p, y = distance[size], position[size], label[size]
        distance[size], position[size], label[size] = distance[0], position[0], label[0]
        heap_sink(distance, position, label, 0, size, d, p, y)


@kernel(exact=True)
def heaps_sort(distance, position, label):
    """Sort all heaps, each a row of (n_queries, k)."""
    for query in range(distance.shape[0]):
        heap_sort(distance[query], position[query], label[query])
