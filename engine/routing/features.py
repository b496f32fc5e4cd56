"""What a prompt looks like, in counts: the material that `auto` judges its difficulty by.

Everything is found by words, so that spaces and line breaks between them change nothing, and in a
time that is bounded: of a long conversation the last words count, of a long text its first and its
last. Nothing is understood, and nothing of the prompt is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from engine.routing.values import Features

WORDS_MAX: Final = 2_000
"""So many are looked at, of all texts together."""
_TEXT_MAX_CHARS: Final = 40_000
"""Of those words together: some scripts put no spaces between them, and data has none."""
_PUNCTUATION: Final = ".,:;!?\"'()[]{}<>*_`~…«»„“”‚‘’¿¡、。，：；！？「」（）"
_SCRIPTS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = tuple(
    (name, re.compile(f"[{characters}]"))
    for name, characters in (
        ("greek", "\u03b1-\u03ff\u1f00-\u1fff"),
        ("cyrillic", "\u0400-\u052f"),
        ("hebrew", "\u0590-\u05ff"),
        ("arabic", "\u0600-\u06ff\u0750-\u077f"),
        ("devanagari", "\u0900-\u097f"),
        ("thai", "\u0e00-\u0e7f"),
        ("hangul", "\u1100-\u11ff\uac00-\ud7af"),
        ("kana", "\u3040-\u30ff"),
        ("han", "\u3400-\u4dbf\u4e00-\u9fff"),
    )
)
_GREEK_WORD: Final = re.compile("[\u03b1-\u03ff\u1f00-\u1fff]{3}")
"""Single letters are mathematics."""
_UNSPACED: Final = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
"""Scripts that put no spaces between words."""
_INFLECTED: Final = re.compile("[\u0590-\u097f\u1100-\u11ff\uac00-\ud7af]")
"""Scripts whose words are seldom written without a prefix or a suffix."""
_CHARS_PER_UNSPACED_WORD: Final = 2


def _list(text: str) -> tuple[str, ...]:
    return tuple(word.replace("_", " ") for word in text.split())


WORDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "code": _list(
            """
            api apis assembly async asyncio await backend bash bytecode c++ c# cache cli codebase
            compile compiler concurrency concurrent coroutine coroutines css csv database daemon
            deadlock deadlocks debug debugging decorator deserialize docker dockerfile endpoint enum
            exceptions fastapi flask frontend function functions git github golang goroutine
            goroutines grpc hashmap haskell html http implement implementation index iterator java
            javascript json kernel kotlin kubernetes lambda linux lock-free lru malloc microservice
            middleware multithreaded mutex nginx node.js npm nullpointerexception orm parser pandas
            pip php postgres postgresql python pytorch query queries queue react recursion recursive
            redis refactor regex repository rest ruby runtime rust schema scheduler script segfault
            semaphore serialize serializer shell sql sqlite stack struct subprocess swift syntax
            tcp template terraform thread threads timeout traceback transaction transactions
            typescript unit_test variable vue webhook webhooks websocket yaml yield
            ``` () => -> == != :: && || </ {} [] += def_ import_ #include select_* ;_} return_
            函数 代码 编译 関数 コード функция функцию код программу
            """
        ),
        "mathematics": _list(
            """
            algebra algebraic asymptotic bayes bayesian bijection binomial calculus coefficient
            coefficients combinatorial combinatorics commute commutative compactness congruence
            conjecture continuous contradiction converge convergence converges corollary cosine
            cyclic derivative determinant diagonalizable differentiable differential divergent
            divisible divisor eigenvalue eigenvalues eigenvector eigenvectors equation equations
            estimator euler expectation exponential factorial finite fourier gaussian gradient
            homomorphism hypothesis independent induction inequality infimum infinitely integer
            integers integral integrals integrate interval irrational isometry isomorphic
            isomorphism kernel laplace lemma linear logarithm manifold markov matrices matrix
            metric modulo monotone nilpotent orthogonal permutation permutations polynomial
            polynomials posterior prime primes probability proof proofs prove quadratic rational
            recurrence residue ring scalar sequence sigma stochastic subgroup subset supremum
            symmetric tensor theorem topological topology triangle trigonometric variance vector
            vectors f(x) o(n x^2 n^2 ∫ ∑ ∏ √ ≤ ≥ ∀ ∃ ∈ ≡ ∞ \\frac \\int \\sum \\begin mod_ $$
            beweise beweis gleichung demuestra ecuación démontrer démontrez équation theorem
            beweisen dimostra equazione teorema théorème matriz matrice integrale intégrale
            докажи докажите уравнение интеграл вероятность теорема 证明 方程 积分 矩阵 概率
            証明 積分 確率 素数 증명 방정식 소수 확률 البرهان أثبت معادلة सिद्ध समीकरण प्रमेय प्रमाण
            """
        ),
        "hard": _list(
            """
            adversarial ambiguous analyse analyze anomalies architecture argue assess assumption
            assumptions bottleneck bottlenecks characterise characterize compare comprehensive
            consistency constraint constraints contradict counterexample critique deduce defend
            derive design determine diagnose disprove edge_case evaluate evidence
            failure_mode fault-tolerant feasibility feasible formal formally
            generalise generalize implications infer invariant invariants irreconcilable justify
            linearizability linearizable migration minimise minimize mitigate mitigation optimal
            optimise optimize prioritise prioritize proof prove race_condition
            rationale reconcile reproduce rigorous rigorously risks root_cause scalability scalable
            step-by-step step_by_step strategy synthesise synthesize threat_model tradeoff tradeoffs
            trade-off uncertainty verify worst-case worst_case
            analysiere bewerte beweise begründe vergleiche analiza compara demuestra justifica
            analysez comparez démontrez justifiez évaluez проанализируй проанализируйте докажи
            докажите обоснуй обоснуйте сравни сравните analizza confronta dimostra giustifica valuta
            分析 证明 设计 比较 取舍 論じ 設計 証明 比較 厳密 증명 분석 비교 설계 엄밀
            حلل قارن برر أثبت विश्लेषण तुलना सिद्ध औचित्य
            """
        ),
    }
)
"""What speaks for code, for mathematics, for a question that takes thought, in lower case. What has
a space or a sign in it, or is of a script whose words do not stand alone, is looked for anywhere,
inside words too."""


def features_of(
    texts: Iterable[str],
    *,
    tools: int,
    schema: bool,
    reasoning: bool,
    depth: int,
    words: Mapping[str, tuple[str, ...]] = WORDS,
) -> Features:
    """The features of a conversation: its texts in their order, and what else it asks for. `words`
    are in place of those of `WORDS`, name by name.

    >>> features_of(["Prove  that \\n√2 is irrational."], tools=0, schema=False, reasoning=False,
    ...             depth=1)
    Features(words=5, code=0, mathematics=3, hard=1, tools=0, schema=False, reasoning=False, \
languages=0, depth=1)
    """
    tables, found = {**WORDS, **words}, _last_words(texts)
    text = f" {' '.join(found)[:_TEXT_MAX_CHARS]} ".lower()
    plain = text.isascii()
    seen = _Seen(text, plain)
    unspaced = 0 if plain else len(_UNSPACED.findall(text))
    return Features(
        words=min(len(found) + unspaced // _CHARS_PER_UNSPACED_WORD, WORDS_MAX),
        code=seen.hits(tables["code"]),
        mathematics=seen.hits(tables["mathematics"]),
        hard=seen.hits(tables["hard"]),
        tools=tools,
        schema=schema,
        reasoning=reasoning,
        languages=0 if plain else _scripts(text),
        depth=depth,
    )


def _last_words(texts: Iterable[str]) -> list[str]:
    """Words of the last texts, as many as are looked at."""
    found: list[str] = []
    for text in reversed(tuple(texts)):
        left = WORDS_MAX - len(found)
        if left <= 0:
            break
        found += (word[:_TEXT_MAX_CHARS] for word in _ends(text, left))
    return found


def _ends(text: str, words_max: int) -> Iterable[str]:
    """The first and the last words of a text, half of those that may be; or all of them."""
    first = (words_max + 1) // 2
    words = text.split(None, first)
    if len(words) <= first:
        return words
    rest = words.pop()
    last = words_max - first
    behind = rest.rsplit(None, last) if last else []
    if len(behind) > last:
        del behind[0]
    return words + behind


class _Seen:
    """The words of a text, as tables of words are looked up in it."""

    def __init__(self, text: str, is_ascii: bool) -> None:
        words = set(text.split())
        self._text = text
        self._ascii = is_ascii
        self._words = {word.strip(_PUNCTUATION) for word in words}
        self._each_once = "\n".join(words)
        """Shorter than the text, where that is long."""

    def hits(self, entries: tuple[str, ...]) -> int:
        """How many entries of a table there are."""
        table = _sorted_out(entries)
        found = len(table.words & self._words)
        found += sum(entry in self._each_once for entry in table.pieces)
        found += sum(entry in self._text for entry in table.phrases)
        if not self._ascii:
            found += sum(entry in self._text for entry in table.foreign)
        return found


class _Table(NamedTuple):
    """A list of words by how they are looked for: as words, inside of words, in the whole text; the
    last ones only where that has more than ASCII."""

    words: frozenset[str]
    pieces: tuple[str, ...]
    phrases: tuple[str, ...]
    foreign: tuple[str, ...]


@lru_cache(maxsize=32)
def _sorted_out(entries: tuple[str, ...]) -> _Table:
    lowered = dict.fromkeys(entry.lower() for entry in entries)
    words = frozenset(entry for entry in lowered if _is_word(entry))
    others = [entry for entry in lowered if entry not in words]
    plain = [entry for entry in others if entry.isascii()]
    return _Table(
        words,
        pieces=tuple(entry for entry in plain if " " not in entry),
        phrases=tuple(entry for entry in plain if " " in entry),
        foreign=tuple(entry for entry in others if not entry.isascii()),
    )


def _is_word(entry: str) -> bool:
    return entry.isalnum() and not (_UNSPACED.search(entry) or _INFLECTED.search(entry))


def _scripts(text: str) -> int:
    """How many scripts beside the Latin one; Japanese is one, whatever it is written with."""
    names = {name for name, pattern in _SCRIPTS if pattern.search(text)}
    if "greek" in names and _GREEK_WORD.search(text) is None:
        names.discard("greek")
    if "kana" in names:
        names.discard("han")
    return len(names)
