"""A language model scores answers about clips in six dimensions, given what is known about each clip."""

from .answers import GivenAnswer, read_answers
from .judging import AnswerJudge, JudgedAnswer, read_judged
from .prompt import DIMENSIONS, JUDGE_SCALE, AnswerRubric
from .references import Known, Reference, references
from .summary import summarize

__all__ = [
    "DIMENSIONS",
    "JUDGE_SCALE",
    "AnswerJudge",
    "AnswerRubric",
    "GivenAnswer",
    "JudgedAnswer",
    "Known",
    "Reference",
    "read_answers",
    "read_judged",
    "references",
    "summarize",
]
