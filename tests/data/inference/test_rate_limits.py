"""Token bucket, budget and Retry-After, with a clock that the test sets."""

import datetime
import email.utils

import pytest

from soundclip_hf.data.inference.rate_limits import Budget, TokenBucket, retry_after


def test_a_bucket_lets_a_burst_through_and_then_its_rate():
    now = [0.0]
    bucket = TokenBucket(120, burst_seconds=2, clock=lambda: now[0])  # 2 per second, 4 at once
    now[0] = 2.0
    assert [bucket.reserve() for _ in range(6)] == pytest.approx([0, 0, 0, 0, 0.5, 1.0])
    now[0] = 4.0  # 4 more, of which 2 were promised already
    assert [bucket.reserve() for _ in range(3)] == pytest.approx([0, 0, 0.5])
    now[0] = 100.0  # no more than a burst is saved up
    assert [bucket.reserve() for _ in range(5)] == pytest.approx([0, 0, 0, 0, 0.5])


def test_a_request_larger_than_a_burst_waits_longer():
    bucket = TokenBucket(60, clock=lambda: 0.0)
    assert bucket.reserve(10) == pytest.approx(10)
    assert TokenBucket(None).reserve(1e9) == 0
    with pytest.raises(ValueError, match="positive rate"):
        TokenBucket(0)


def test_buckets_one_after_the_other_keep_the_rate():
    """As in a build, where each shard has a bucket of its own: none of them may begin with a burst."""
    now, sent = [0.0], []
    for _ in range(5):
        bucket = TokenBucket(600, clock=lambda: now[0])
        for _ in range(3):
            now[0] += bucket.reserve()
            sent.append(now[0])
    assert sent == pytest.approx([0.1 * (number + 1) for number in range(15)])


def test_a_budget_counts_what_may_still_come():
    budget = Budget(limit=1.0)
    assert budget.reserve(0.5)
    assert not budget.reserve(0.7)
    budget.settle(0.5, 0.2)
    assert (budget.spent, budget.reserved) == (0.2, 0.0)
    assert budget.reserve(0.7)
    assert not budget.reserve(0.2)
    assert Budget().reserve(1e9)


def test_retry_after():
    assert retry_after("3") == 3
    assert retry_after("0.5") == 0.5
    assert retry_after("-1") == 0
    assert retry_after(None) is retry_after("soon") is None
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=30)
    # The header has whole seconds, and a busy machine reads it late.
    assert 15 < retry_after(email.utils.format_datetime(later, usegmt=True)) <= 30
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
