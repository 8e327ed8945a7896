"""K9: a record lands where a Java client would put it.

The table was computed by kafka-clients 4.3.1 from Maven (`org.apache.kafka:kafka-clients`), run as
`java -cp kafka-clients-4.3.1.jar:slf4j-api.jar Murmur2Table.java KEY…`, each KEY in base64:

    int hash = Utils.murmur2(Base64.getDecoder().decode(key));
    int positive = Utils.toPositive(hash);
    println(key + " " + hash + " " + positive % 3 + " " + positive % 4 + " " + positive % 12 + " " + positive % 1000);
"""

from __future__ import annotations

from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_kafka.partition import murmur2, partition_of

COUNTS = (3, 4, 12, 1000)
JAVA = """\
- 275646681 0 1 9 681
YQ== -1563381124 1 0 4 524
YWI= 316155434 2 2 2 434
YWJj 479470107 0 3 3 107
YWJjZA== -1323649548 2 0 8 100
YWJjZGU= 461995741 1 1 1 741
MjE= -973932308 0 0 0 340
Zm9vYmFy -790332482 0 2 6 166
YS1saXR0bGUtYml0LWxvbmctc3RyaW5n -985981536 2 0 8 112
YS1saXR0bGUtYml0LWxvbmdlci1zdHJpbmc= -1486304829 2 3 11 819
bGtqaDIzNGxoOWZpdWg5MHkyM29pdWhzYWZ1amhhZG9mMjI5cGhyOWgxOWg4OWg4 -58897971 2 1 5 677
eyJpZCI6MX0= -56768732 0 0 0 916
eyJpZCI6Mn0= -1705675864 1 0 4 784
eyJpZCI6LTkyMjMzNzIwMzY4NTQ3NzU4MDh9 -1035036828 2 0 8 820
c2hvcC5wdWJsaWMub3JkZXJz 735581397 0 1 9 397
eyJuYW1lIjoiw4Zyw7hza8O4YmluZyJ9 -281421607 1 1 1 41
/////w== 644171429 2 1 5 429
gICA -1134684817 1 3 7 831
AA== 375494588 2 0 8 588
9A== -904575368 0 0 0 280
9Nw= -415140463 1 1 1 185
0qTy 1884521626 1 2 10 626
yK9b2Q== -1371204079 1 1 1 569
nyZ6Dhc= 425199819 0 3 3 819
3Su6FW5c 772307676 0 0 0 676
JEHj1RBJKw== 1079730878 2 2 2 878
eIdovP8iGM8= 1717579121 2 1 5 121
j3Nzq+jjlNpO -1999031157 2 3 11 491
WMNnQC4oH5tTNg== -1103071167 2 1 5 481
0VtXm3TkJQnJyZQ= -939344213 0 3 3 435
dSZmroHHiyg1ku3/ 1067154421 1 1 1 421
k11Abo/bcqNJgL5kzQ== -1848971988 2 0 8 660
2lEXuRn1ONy3fqz+UoI= -1460280803 0 1 9 845
+pQL8+tXP1/BL0+LzYrv -850944443 0 1 9 205
0vbhcW97h4DObKtE54215g== 1589356450 1 2 10 450
JlYyCUoE/N5FoAYHuQwwXXc= 1842554827 1 3 7 827
6X6N7jLuhlGrT2Lob6hIYXFs 1381069125 0 1 9 125
VVBM5DMOUuLQu5eGzekbKpt9jw== -590508103 1 1 1 545
f3lsLXiVcjzjxgg7MJAbBk6FPS0= 996099310 1 2 10 310
NZE8Ux5QcCyimf4i1EiagrAHnoJc -557825349 2 3 11 299
8bmp/0BLhIOes6qszvhUj4pLjS7D/g== -1750229091 2 1 5 557
shrB5HZOFXJEdfjL3+Anas6/AbxefoY= 196479870 0 2 6 870
YYUW6OIEkuifdkzDg9k/XbzmLMpkq+6X 868317810 0 2 6 810
"""


def rows() -> list[tuple[bytes, int, list[int]]]:
    """Key, hash as Java's signed int, partition for each of COUNTS."""
    found = []
    for line in JAVA.splitlines():
        key, *numbers = line.split()
        hash, *partitions = map(int, numbers)
        found.append((b"" if key == "-" else b64decode(key), hash, partitions))
    return found


@pytest.mark.parametrize(("key", "hash", "partitions"), rows())
def test_K9_as_java(key: bytes, hash: int, partitions: list[int]) -> None:
    assert murmur2(key) == hash % (1 << 32)
    assert [partition_of(key, count) for count in COUNTS] == partitions


def test_the_table_has_every_remainder_of_four_and_both_signs() -> None:
    lengths = {len(key) % 4 for key, _, _ in rows()}
    assert lengths == {0, 1, 2, 3}
    assert {hash < 0 for _, hash, _ in rows()} == {True, False}


@given(st.binary(max_size=300), st.integers(1, 10_000))
def test_every_key_has_a_partition(key: bytes, count: int) -> None:
    assert 0 <= partition_of(key, count) < count
