"""The estimate against counts that o200k_base gave for these texts, and its bounds."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.tokens import SAMPLED, estimate

COUNTED = {
    "English prose": (
        "The harbour was quiet that morning. A single boat moved slowly past the pier, and the old man wh"
        "o mended nets by the wall looked up only once, as if he had been expecting it for years.",
        42,
    ),
    "English chat": (
        "hey! could you tell me what time the shops close on Sundays? I'd like to buy some bread, milk an"
        "d maybe a cake.",
        27,
    ),
    "Python": (
        'def total(prices: list[float], discount: float = 0.0) -> float:\n    """Sum of prices after the d'
        'iscount."""\n    result = 0.0\n    for price in prices:\n        if price < 0:\n            raise Va'
        'lueError(f"negative price: {price}")\n        result += price * (1 - discount)\n    return round(r'
        "esult, 2)\n",
        81,
    ),
    "JavaScript": (
        "export const groupBy = (items, keyOf) => {\n  const groups = new Map();\n  for (const item of item"
        "s) {\n    const key = keyOf(item);\n    if (!groups.has(key)) groups.set(key, []);\n    groups.get("
        "key).push(item);\n  }\n  return groups;\n};\n",
        64,
    ),
    "SQL": (
        "SELECT c.name, COUNT(*) AS orders, SUM(o.amount) AS total FROM customers c JOIN orders o ON o.cu"
        "stomer_id = c.id WHERE o.created_at >= '2024-01-01' GROUP BY c.name HAVING COUNT(*) > 3 ORDER BY"
        " total DESC LIMIT 10;",
        60,
    ),
    "JSON": (
        '{"id": 4711, "name": "lamp", "price": 39.9, "tags": ["home", "light"], "size": {"width": 20, "he'
        'ight": 45}, "in_stock": true}',
        51,
    ),
    "German": (
        "Der Hafen war an diesem Morgen still. Ein einziges Boot fuhr langsam am Steg vorbei, und der alt"
        "e Mann, der an der Mauer Netze flickte, blickte nur einmal auf.",
        41,
    ),
    "French": (
        "Le port était calme ce matin-là. Un seul bateau passait lentement devant la jetée, et le vieil h"
        "omme qui réparait des filets ne leva les yeux qu'une fois.",
        39,
    ),
    "Spanish": (
        "El puerto estaba tranquilo aquella mañana. Un solo barco pasaba despacio junto al muelle, y el v"
        "iejo que remendaba redes levantó la vista una sola vez.",
        35,
    ),
    "Portuguese": (
        "O porto estava calmo naquela manhã. Um único barco passava devagar pelo cais, e o velho que cons"
        "ertava redes levantou os olhos apenas uma vez.",
        34,
    ),
    "Italian": (
        "Il porto era tranquillo quella mattina. Una sola barca passava lentamente davanti al molo, e il "
        "vecchio che riparava le reti alzò lo sguardo una volta sola.",
        42,
    ),
    "Polish": (
        "Tego ranka port był cichy. Jedna łódź powoli mijała molo, a stary człowiek, który naprawiał siec"
        "i przy murze, tylko raz podniósł wzrok.",
        48,
    ),
    "Turkish": (
        "O sabah liman sessizdi. Tek bir tekne iskelenin önünden yavaşça geçiyordu ve duvarın dibinde ağ "
        "onaran yaşlı adam yalnızca bir kez başını kaldırdı.",
        45,
    ),
    "Russian": (
        "В то утро в гавани было тихо. Одинокая лодка медленно шла мимо причала, и старик, чинивший сети "
        "у стены, поднял глаза лишь однажды.",
        44,
    ),
    "Ukrainian": (
        "Того ранку в гавані було тихо. Самотній човен повільно йшов повз причал, і старий, що лагодив сі"
        "ті, підвів очі лише раз.",
        47,
    ),
    "Chinese": (
        "那天早晨港口很安静。一条小船慢慢地从码头旁边经过，墙边补渔网的老人只抬头看了一眼，好像他已经等了很多年。",
        47,
    ),
    "Japanese": (
        "その朝、港は静かだった。一そうの小舟が桟橋のそばをゆっくりと通り過ぎ、網を直していた老人は一度だけ顔を上げた。",
        47,
    ),
    "Korean": (
        "그날 아침 항구는 조용했다. 배 한 척이 부두 옆을 천천히 지나갔고, "
        "그물을 고치던 노인은 단 한 번 고개를 들었다.",
        45,
    ),
    "Arabic": (
        "كان الميناء هادئا في ذلك الصباح. مر قارب واحد ببطء أمام الرصيف، ولم يرفع الرجل العجوز الذي كان ي"
        "صلح الشباك عينيه إلا مرة واحدة.",
        45,
    ),
    "Hindi": (
        "उस सुबह बंदरगाह शांत था। एक अकेली नाव धीरे-धीरे घाट के पास से गुज़री, और जाल ठीक करने वाले बूढ़े"
        " आदमी ने केवल एक बार ऊपर देखा।",
        42,
    ),
    "Greek": (
        "Το λιμάνι ήταν ήσυχο εκείνο το πρωί. Μια βάρκα περνούσε αργά μπροστά από την αποβάθρα και ο γέρο"
        "ς σήκωσε τα μάτια μόνο μια φορά.",
        51,
    ),
    "Thai": (
        "เช้าวันนั้นท่าเรือเงียบสงบ เรือลำหนึ่งแล่นผ่านท่าเทียบเรืออย่างช้าๆ และชายชราที่ซ่อมแหเงยหน้าขึ้นเพียงครั้งเดียว",
        51,
    ),
    "Markdown": (
        "# Setup\n\n1. Install the tool with `make install`.\n2. Copy `config.example.yml` to `config.yml`.\n"
        "3. Run **make run** and open http://localhost:8080.\n\n- [x] tests\n- [ ] docs\n",
        53,
    ),
    "numbers": (
        "2021: 14,302 units; 2022: 15,877 units; 2023: 19,004 units. Mean 16,394.33, deviation 2,413.9, g"
        "rowth 19.7 %.",
        51,
    ),
    "paragraphs": (
        "Dear Mara,\r\n\r\nthe parcel came this morning.\r\n\r\nNothing was broken.\r\n\r\nYours,\r\nJon"
        "as\r\n\r\n\r\n",
        19,
    ),
    "code in Chinese": (
        "请解释下面的代码：\nfor i in range(10):\n    print(i * i)\n它会输出什么？为什么循环从零开始？",
        30,
    ),
}
"""Texts written for this table, with their tokens in o200k_base."""


@pytest.mark.parametrize(("text", "tokens"), COUNTED.values(), ids=COUNTED.keys())
def test_one_text_is_within_a_third(text: str, tokens: int) -> None:
    assert estimate(text) == pytest.approx(tokens, rel=0.34)


def test_on_average_the_estimate_is_within_15_per_cent() -> None:
    errors = [abs(estimate(text) / tokens - 1) for text, tokens in COUNTED.values()]
    assert sum(errors) / len(errors) < 0.15


def test_nothing_has_no_tokens() -> None:
    assert estimate("") == 0


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("\n" * 1_000_000, 62_500),
        ("\r\n" * 500_000, 125_000),
        ("=" * 1_000_000, 15_625),
        (("-" * 60 + "\nchapter\n") * 10_000, 40_000),
    ],
    ids=["line ends", "CR LF", "one mark", "rules between lines"],
)
def test_what_only_parts_is_no_reason_to_call_a_prompt_too_long(text: str, tokens: int) -> None:
    """Tokenizers merge runs; each of these was counted for its size before, up to 1.1 million."""
    assert 0.4 * tokens < estimate(text) < 1.6 * tokens


@given(st.text())
def test_any_text_has_a_count(text: str) -> None:
    assert 0 <= estimate(text) <= 4 * len(text) + 1


def test_lone_surrogates_are_counted_as_something() -> None:
    assert estimate("\ud800" * 10) > 0


def test_a_long_text_is_estimated_from_samples_as_from_the_whole() -> None:
    text, tokens = COUNTED["English prose"]
    copies = 4 * SAMPLED // len(text)
    assert estimate((text + " ") * copies) == pytest.approx(tokens * copies, rel=0.2)


def test_a_mixed_long_text_is_not_judged_by_its_head_alone() -> None:
    half = 4 * SAMPLED
    mixed = "word " * (half // 5) + "说" * half
    assert estimate(mixed) == pytest.approx(estimate("word " * (half // 5)) + estimate("说" * half), rel=0.25)


def test_a_megabyte_takes_no_longer_than_a_page() -> None:
    text = "Ünïcödé words and 123 numbers " * 40_000
    started = time.process_time()
    estimate(text)
    assert time.process_time() - started < 0.02
