"""The site that `make site` builds: every page, under the links that a forge follows, and nothing from elsewhere.

Its search leads to the page that answers, for words that users of such programs type (headings of their FAQs, titles of
their issues).
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tools.pages import PAGES, ROOT

FETCHED: Final = re.compile(
    r"<(?:script|img|link|iframe|source)\b[^>]*?(?:src|href)=\"?(?:https?:)?//|url\(['\"]?(?:https?:)?//"
)

ANSWERS: Final = {
    "retry a dead job": "docs/faq.html#how-do-i-retry-a-dead-job",
    "delete a dead job": "docs/faq.html#how-do-i-delete-a-dead-job-or-retry-many",
    "lost jobs": "docs/faq.html#where-is-my-job-i-lost-it",
    "order of jobs": "docs/faq.html#are-jobs-done-in-order-is-the-order-of-jobs-kept",
    "priority": "docs/faq.html#how-do-i-give-some-jobs-priority",
    "cron": "docs/faq.html#how-do-i-schedule-or-delay-a-job-or-repeat-it-cron",
    "delay a job": "docs/faq.html#how-do-i-schedule-or-delay-a-job-or-repeat-it-cron",
    "change password": "docs/faq.html#how-do-i-change-a-password",
    "job stuck in progress": "docs/faq.html#my-job-is-stuck-in-progress",
    "duplicates": "docs/faq.html#can-a-command-run-twice-duplicates",
    "what if redis dies": "docs/faq.html#what-if-redis-dies",
    "tls to redis": "docs/faq.html#how-do-i-use-tls-to-redis-a-password-or-redis-sentinel",
    "timeouts": "docs/faq.html#how-long-may-a-command-take-timeouts",
    "docker": "docs/faq.html#how-do-i-run-it-in-docker-or-kubernetes",
    "kubernetes": "docs/faq.html#how-do-i-run-it-in-docker-or-kubernetes",
    "high availability": "docs/faq.html#how-do-i-run-several-brokers-high-availability",
    "rate limit": "docs/faq.html#how-do-i-limit-the-rate",
    "create room": "docs/faq.html#how-do-i-create-a-room",
    "add a user": "docs/faq.html#how-do-i-add-a-user-create-an-account",
    "send message": "docs/faq.html#how-do-i-send-a-message",
    "pause queue": "docs/faq.html#how-do-i-pause-a-queue-or-a-target",
    "token rotation": "docs/tokens.html#a-new-token-and-a-rotation",
    "systemd": "docs/install.html#on-a-server-with-systemd",
    "upgrade": "docs/recipes.html#upgrade-the-server",
    "bulk import": "docs/bulk.html",
    "reload configuration": "docs/operations.html#reload-the-configuration",
    "log level": "docs/operations.html#the-log-and-its-level",
    "prometheus": "docs/faq.html#how-do-i-monitor-it-prometheus",
    "sidekiq web": "docs/sidekiq.html",
    "response queue": "docs/producers.html#the-answer-response-queues",
    "presence events": "docs/events.html",
    "two servers": "docs/targets.html",
    "memory": "docs/performance.html",
}
"""What users type → the page, or its section, that answers it or leads to the answer."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site as `make site` builds it."""
    folder = tmp_path_factory.mktemp("site")
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)],
        cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_on_the_site_which_fetches_nothing_and_searches_no_decisions(site: Path) -> None:
    for page in PAGES:
        name = page.with_name("index.md") if page.name == "README.md" else page
        assert "<h1" in (site / name.relative_to(ROOT)).with_suffix(".html").read_text("utf-8"), page
    index = json.loads((site / "search/search_index.json").read_text("utf-8"))
    found = {entry["location"].partition("#")[0] for entry in index["docs"]}
    assert "docs/guarantees.html" in found
    assert [place for place in found if place.startswith(("docs/decisions/", "docs/appendix/", "CHANGELOG"))] == []
    shown = [file for end in ("html", "css") for file in site.rglob(f"*.{end}")]
    assert [file for file in shown if FETCHED.search(file.read_text("utf-8"))] == []


def test_a_search_for_what_users_type_leads_to_the_page_and_section_that_answer_it(site: Path) -> None:
    asked = json.dumps(list(ANSWERS))
    search = ["node", str(ROOT / "tests/docs/search.js"), str(site)]
    done = subprocess.run(search, input=asked, capture_output=True, text=True, check=True, timeout=60)
    first = {query: pages[0] if pages else [] for query, pages in json.loads(done.stdout).items()}
    assert {query: first[query] for query, place in ANSWERS.items() if place not in first[query]} == {}
