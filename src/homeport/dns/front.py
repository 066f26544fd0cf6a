"""What a question meets before the zone: rewriting, static names, and the cache of clusters that have one."""

from dataclasses import replace

from homeport.dns.answercache import AnswerCache
from homeport.dns.index import Index
from homeport.dns.name import below, fold
from homeport.dns.records import Question
from homeport.dns.rewrite import restore, rewritten
from homeport.dns.settings import DnsSettings
from homeport.dns.zone import Steps, resolve

__all__ = ["answer"]


def answer(question: Question, index: Index, settings: DnsSettings, cache: AnswerCache | None) -> Steps:
    """Answer one question of class IN; yields as `zone.resolve` does."""
    meant = rewritten(question.name, settings.rewrites)
    if meant is None:
        return (yield from _answer(question, index, settings, cache))
    found = yield from _answer(replace(question, name=meant), index, settings, cache)
    return restore(found, meant, question.name)


def _answer(question: Question, index: Index, settings: DnsSettings, cache: AnswerCache | None) -> Steps:
    known = settings.hosts.answer(question)
    if known is not None:
        return known
    if cache is None or not _cached(question, settings):
        return (yield from resolve(question, index, settings))
    known = cache.get(question)
    if known is None:
        known = cache.put(question, (yield from resolve(question, index, settings)))
    return replace(known, lasting=False)


def _cached(question: Question, settings: DnsSettings) -> bool:
    folded = fold(question.name)
    return settings.zone_of(folded) is not None and not any(below(folded, zone) for zone in settings.emulation.uncached)
