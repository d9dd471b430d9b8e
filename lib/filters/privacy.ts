import { createHash, createHmac } from "node:crypto";
import type { ActivityEvent, Bucket, BucketType, Policy, Related, Surroundings, Verdict } from "../event.ts";
import { SECOND_US } from "../time.ts";
import { appsOfBucket, browserOfApp, mayShow, saysPrivate } from "./browsers.ts";
import { deviceTime, type LocalTime, overlapsDailyTime } from "./daily_time.ts";
import type { Pattern } from "./pattern.ts";
import { type PresetName, PRESETS } from "./presets.ts";
import { hostsIn, hostsOf, reduceUrl, reduceUrlsIn, URL_PARTS, type UrlPart, urlsIn } from "./reduce_url.ts";
import { readRules, type Rule, type RuleSet } from "./rule.ts";
import { createTimeline, meet, type Span, spanOf, type Spell, type Timeline } from "./timeline.ts";

/** Raised with every change of what rules do: what waits is then judged again. */
const ENGINE = 1;
/** The title of a window trails the page's by a poll or two. Where they do not meet, it must be the page's title. */
const NEAR_US = 10 * SECOND_US;
/** How far apart the watchers may see one change of the page: the window watcher looks once a second. */
const BLINK_US = SECOND_US;
/** A shorter title stands in other texts by chance. */
const TELLING_LENGTH = 4;
const REDACTED = "[redacted]";

/** What {@link createPolicy} needs. */
export interface PolicyOptions {
  readonly preset: PresetName;
  /** The user's own rules; they come before the preset's. */
  readonly own?: RuleSet;
  /** Reads the device's secret, without which hashed titles cannot be guessed. Called where a rule hashes. */
  readonly hashKey: () => Uint8Array;
  readonly localTime?: LocalTime;
}

/**
 * Compiles the privacy rules. They are read from the top; all that fit an event act on it, `drop` and `keep` end the
 * reading. Where a title goes, the URL goes as well, and the application's name where it holds one of them.
 */
export function createPolicy(options: PolicyOptions): Policy {
  const { preset, own, hashKey, localTime = deviceTime } = options;
  const presetRules = readRules(PRESETS[preset], preset).rules
    .map((rule) => ({ ...rule, name: `${preset}: ${rule.name.replace(/^rule "|"$/g, "")}` }));
  const rules: readonly Rule[] = [...own?.rules ?? [], ...presetRules];
  const uses = (...keys: (keyof Rule)[]) => rules.some((rule) => keys.some((key) => rule[key] !== undefined));
  const byPage = uses("title", "url", "domain", "incognito");
  const byWindow = uses("app", "title");
  const byAfk = uses("afk");
  const secret = rules.some(({ action }) => action === "hash") ? hashKey() : new Uint8Array();

  function related(type: BucketType): BucketType[] {
    if (type === "afkstatus") return [];
    const types: BucketType[] = [];
    if (type === "currentwindow" && byPage) types.push("web.tab.current");
    if (type === "web.tab.current" && byWindow) types.push("currentwindow");
    if (byAfk) types.push("afkstatus");
    return types;
  }

  function surround(related: readonly Related[]): Timelines {
    return { related, timelines: related.map(createTimeline) };
  }

  function isReady(event: ActivityEvent, bucket: Bucket, around: Surroundings): boolean {
    if (bucket.type === "afkstatus") return true;
    const { toUs } = spanOf(event);
    const app = bucket.type === "currentwindow" ? textOf(fieldsOf(event).app) : undefined;
    return timelinesOf(around).every(({ bucket: other, knownUntilUs }) =>
      knownUntilUs >= toUs ||
      (other.type === "web.tab.current" && app !== undefined && !mayShow(app, other.id))
    );
  }

  function judge(event: ActivityEvent, bucket: Bucket, around: Surroundings): Verdict {
    if (rules.length === 0) return { event, rules: [] };
    const subject = viewOf(event, bucket);
    let others: View[] | undefined;
    const companions = () => others ??= companionsOf(subject, timelinesOf(around));
    let title: "keep" | "hash" | "replace" = "keep";
    let replacement = REDACTED;
    let part: UrlPart = "full";
    let appTells = false;
    const acted: string[] = [];
    for (const rule of rules) {
      if (!fits(rule, subject, companions, around)) continue;
      if (rule.action === "keep") break;
      if (rule.action === "drop") return { event: undefined, rules: [rule.name] };
      const before = `${title} ${part}`;
      if (URL_PARTS.indexOf(rule.urlPart) > URL_PARTS.indexOf(part)) part = rule.urlPart;
      if (rule.action === "hash" && title === "keep") title = "hash";
      if ((rule.action === "redact" || rule.action === "replace") && title !== "replace") {
        title = "replace";
        ({ replacement } = rule);
      }
      if (title !== "keep") appTells ||= tells(rule, subject.app[0] ?? "");
      if (`${title} ${part}` !== before) acted.push(rule.name);
    }
    if (acted.length === 0) return { event, rules: [] };
    const put = title === "hash" ? hash : () => replacement;
    const changed = apply(event, bucket.type, title === "keep" ? undefined : put, part, appTells);
    return changed === event ? { event, rules: [] } : { event: changed, rules: acted };
  }

  function hash(title: string): string {
    return `hash:${createHmac("sha256", secret).update(title).digest("hex").slice(0, 24)}`;
  }

  /** Tells whether a rule fits an event, by itself or together with what stood beside it. */
  function fits(rule: Rule, subject: View, companions: () => View[], around: Surroundings): boolean {
    if (rule.bucket !== undefined && !rule.bucket(subject.bucket.id) && !rule.bucket(subject.bucket.type)) {
      return false;
    }
    if (
      rule.during !== undefined && !overlapsDailyTime(rule.during, subject.fromUs, subject.toUs, localTime)
    ) {
      return false;
    }
    const { app, title, url, domain, incognito } = rule;
    const ofContent = app ?? title ?? url ?? domain ?? incognito ?? rule.afk;
    if (subject.bucket.type === "afkstatus") return ofContent === undefined;
    if (rule.afk !== undefined && rule.afk !== isAfk(subject, around)) return false;
    if (fitsTogether(rule, subject, [])) return true;
    const pages = title !== undefined || url !== undefined || domain !== undefined || incognito !== undefined;
    if (!pages && !(app !== undefined && subject.isPage)) return false;
    const together = (other: View) => fitsTogether(rule, subject, [other]);
    // An exception must hold for all that the window showed.
    if (rule.action === "keep") return companions().length > 0 && companions().every(together);
    return companions().some(together);
  }

  return {
    fingerprint: createHash("sha256")
      .update(JSON.stringify([ENGINE, preset, own?.texts ?? []]))
      .update(secret)
      .digest("hex").slice(0, 32),
    related,
    needsMore: (type) => type !== "afkstatus" && (related(type).length > 0 || uses("incognito")),
    surround,
    isReady,
    judge,
  };
}

/** What the conditions of a rule look at. */
interface View extends Spell {
  readonly isPage: boolean;
  readonly app: readonly string[];
  readonly title: string;
  readonly incognito: boolean;
  readonly urls: () => readonly string[];
  readonly hosts: () => readonly string[];
}

function viewOf(event: ActivityEvent, bucket: Bucket): View {
  const fields = fieldsOf(event);
  const isPage = bucket.type === "web.tab.current";
  const title = textOf(fields.title);
  const url = textOf(fields.url);
  const app = isPage ? appsOfBucket(bucket.id) : [textOf(fields.app)];
  let urls: string[] | undefined;
  let hosts: string[] | undefined;
  return {
    bucket,
    event,
    ...spanOf(event),
    isPage,
    app,
    title,
    incognito: isTrue(fields.incognito) || (!isPage && saysPrivate(app[0]!, title)),
    urls: () => urls ??= [...url === "" ? [] : [url], ...urlsIn(title)],
    hosts: () => hosts ??= [...hostsOf(url), ...hostsIn(title)],
  };
}

/** Tells whether what a rule says of the content holds for an event and what stood beside it, taken as one. */
function fitsTogether(rule: Rule, subject: View, others: readonly View[]): boolean {
  const { app, title, url, domain, incognito } = rule;
  const all = [subject, ...others];
  // Whose windows they are, only the windows know; a page has its browser's names as well.
  const apps = subject.isPage ? all : [subject];
  if (app !== undefined && !apps.some((view) => view.app.some(app))) return false;
  if (title !== undefined && !all.some((view) => title(view.title))) return false;
  if (url !== undefined && !all.some((view) => view.urls().some(url))) return false;
  if (domain !== undefined && !all.some((view) => view.hosts().some(domain))) return false;
  // A private window beside a page that is not: the page itself knows better.
  const known = subject.isPage ? [subject] : all;
  const isPrivate = known.some((view) => view.incognito);
  if (incognito !== undefined && incognito !== isPrivate) return false;
  // What is private stays private, unless an exception names it.
  return rule.action !== "keep" || incognito === true || !isPrivate;
}

/** The pages that a window showed, or the windows that showed a page. */
function companionsOf(subject: View, timelines: readonly Timeline[]): View[] {
  const { isPage, fromUs, toUs, bucket } = subject;
  const found: View[] = [];
  for (const timeline of timelines) {
    if (timeline.bucket.type !== (isPage ? "currentwindow" : "web.tab.current")) continue;
    for (const spell of timeline.overlapping(fromUs - NEAR_US, toUs + NEAR_US)) {
      const own = fieldsOf(subject.event);
      const other = fieldsOf(spell.event);
      const [page, window] = isPage ? [own, other] : [other, own];
      const app = textOf(window.app);
      const ofBrowser = mayShow(app, isPage ? bucket.id : spell.bucket.id);
      const shows = (ofBrowser && showsAtTime(spell, subject)) ||
        ((ofBrowser || browserOfApp(app) === undefined) &&
          isTitled(textOf(window.title), textOf(page.title)));
      if (shows) found.push(viewOf(spell.event, spell.bucket));
    }
  }
  return found;
}

/**
 * Tells whether a window and a page have enough of their time in common for the one to have shown the other. The
 * watchers look at different moments, so that neighbours may overlap by a blink: that alone would take what stands
 * before and after a private page as well.
 */
function showsAtTime(a: Span, b: Span): boolean {
  const commonUs = Math.min(a.toUs, b.toUs) - Math.max(a.fromUs, b.fromUs);
  const shorterUs = Math.min(a.toUs - a.fromUs, b.toUs - b.fromUs);
  return meet(a, b) && commonUs >= Math.min(BLINK_US, shorterUs / 2);
}

/** Tells whether a window has a page's title, alone or before the browser's name. */
function isTitled(window: string, page: string): boolean {
  return page.length >= TELLING_LENGTH && window.startsWith(page) &&
    (window.length === page.length || /^\s[-–—|]\s/.test(window.slice(page.length, page.length + 3)));
}

function isAfk({ fromUs, toUs }: View, around: Surroundings): boolean {
  return timelinesOf(around).some(({ bucket, overlapping }) =>
    bucket.type === "afkstatus" &&
    overlapping(fromUs, toUs).some(({ event }) => textOf(fieldsOf(event).status) === "afk")
  );
}

/** Tells whether an application's name shows what a rule wants hidden: web apps are named after their page. */
function tells({ title, url, domain }: Rule, app: string): boolean {
  const by = (pattern: Pattern | undefined, texts: readonly string[]) =>
    pattern !== undefined && texts.some(pattern);
  return by(title, [app]) || by(url, [app, ...urlsIn(app)]) || by(domain, hostsIn(app));
}

/** Makes what may leave of an event. The same object where that is all of it. */
function apply(
  event: ActivityEvent,
  type: BucketType,
  put: ((title: string) => string) | undefined,
  part: UrlPart,
  appTells: boolean,
): ActivityEvent {
  const { data } = event;
  if (!isObject(data)) return event;
  if (type === "afkstatus") {
    const known = data.status === "afk" || data.status === "not-afk";
    return known || put === undefined ? event : { ...event, data: { status: put(textOf(data.status)) } };
  }
  const hidden = [textOf(data.title), textOf(data.url), ...hostsOf(textOf(data.url))]
    .filter((text) => text.length >= TELLING_LENGTH);
  const title = put === undefined
    ? withoutUrls(data.title, part)
    : data.title === null || data.title === undefined
    ? data.title
    : put(textOf(data.title));
  const appText = textOf(data.app);
  const app = put !== undefined &&
      (appTells || hidden.some((text) => appText.length > text.length && appText.includes(text)))
    ? REDACTED
    : withoutUrls(data.app, part);
  const url = data.url === undefined ? undefined : reduceUrl(data.url, part);
  const hasApp = type === "currentwindow";
  if (title === data.title && (url ?? null) === (data.url ?? null) && (!hasApp || app === data.app)) {
    return event;
  }
  // Only what the server gets: whatever else a watcher notes may say the same again.
  return { ...event, data: { ...hasApp ? { app } : {}, title, url } };
}

function withoutUrls(value: unknown, part: UrlPart): unknown {
  if (value === null || value === undefined || part === "full") return value;
  const text = textOf(value);
  const reduced = reduceUrlsIn(text, part);
  return reduced === text ? value : reduced;
}

interface Timelines extends Surroundings {
  readonly timelines: readonly Timeline[];
}

function timelinesOf(around: Surroundings): readonly Timeline[] {
  return (around as Timelines).timelines;
}

function fieldsOf({ data }: ActivityEvent): Record<string, unknown> {
  return isObject(data) ? data : {};
}

/** A value as text to be looked through; one that is no text by its JSON. */
function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  if (value === null || value === undefined) return "";
  try {
    return JSON.stringify(value) ?? "";
  } catch {
    // Nested too deeply to be written out, and so to be sent.
    return "";
  }
}

/** Whatever does not clearly say no says yes. */
function isTrue(value: unknown): boolean {
  return !(value === undefined || value === null || value === false || value === 0 || value === "" ||
    value === "false");
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
