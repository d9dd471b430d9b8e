/** How much of a URL stays. */
export type UrlPart = "full" | "path" | "origin" | "none";

/** From all to nothing. */
export const URL_PARTS: readonly UrlPart[] = ["full", "path", "origin", "none"];

const SCHEME = /^\s*((?:view-source:|blob:|filesystem:)*)([a-z][a-z0-9+.-]*):/i;
/** Schemes whose URL is itself the content. */
const OPAQUE = /^(?:data|javascript|blob|filesystem|mailto|tel|sms|urn|magnet)$/i;
/**
 * Reduces a URL to the part that may leave the device. The text of what stays is not rewritten. User names and
 * passwords always go, with all but `full`.
 *
 * @param url as the watcher recorded it; what is no text leaves nothing
 * @returns the reduced URL, or `null` where nothing of it stays
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { reduceUrl } from "./reduce_url.ts";
 *
 * assert.equal(reduceUrl("https://a.example/b?q=c#d", "path"), "https://a.example/b");
 * assert.equal(reduceUrl("https://a.example/b?q=c#d", "origin"), "https://a.example");
 * assert.equal(reduceUrl("data:text/html,hello", "path"), "data:");
 * ```
 */
export function reduceUrl(url: unknown, part: UrlPart): unknown {
  if (part === "full") return url;
  if (part === "none" || typeof url !== "string") return null;
  const scheme = SCHEME.exec(url);
  if (scheme === null) return part === "path" ? withoutUser(cutQuery(url)) : null;
  const [, wrapper, name] = scheme;
  // Whoever wraps a URL in another (view-source:, blob:) shows the same page.
  if (wrapper !== "" && wrapper !== undefined) {
    const inner = reduceUrl(url.trimStart().slice(wrapper.length), part);
    return typeof inner === "string" ? wrapper + inner : null;
  }
  if (OPAQUE.test(name!)) return `${name}:`;
  const authority = /^\s*[a-z][a-z0-9+.-]*:[/\\]{2}[^/\\?#]*/i.exec(url)?.[0];
  if (part === "path") return withoutUser(cutQuery(url));
  return authority === undefined ? `${name}:` : withoutUser(authority);
}

function cutQuery(url: string): string {
  const at = url.search(/[?#]/);
  return at === -1 ? url : url.slice(0, at);
}

function withoutUser(url: string): string {
  if (!url.includes("@")) return url;
  return url.replace(/^(\s*(?:[a-z][a-z0-9+.-]*:[/\\]{2})?)[^/\\?#]*@/i, "$1");
}

/** What ends a URL in running text. */
const BOUNDARY = /[\s<>"]/;
const HOST = /^(?:localhost|(?:[\p{L}\p{N}_-]+\.)+[\p{L}\p{N}-]{2,}|\[[0-9a-f:.]+\])(?::\d{1,5})?$/iu;
const SCHEME_BEFORE = /[a-z0-9+.-]/i;
const HOST_BEFORE = /[\p{L}\p{N}_.:@[\]-]/u;

/**
 * Reduces every URL that stands in a text, such as the title of a page that has none of its own: with a scheme, or as
 * browsers show it, a host and a path. Takes time linear in the text, which any web page may choose.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { reduceUrlsIn } from "./reduce_url.ts";
 *
 * assert.equal(reduceUrlsIn("a.example/b?q=c - Firefox", "path"), "a.example/b - Firefox");
 * ```
 */
export function reduceUrlsIn(text: string, part: UrlPart): string {
  if (part === "full" || !/[/?#]/.test(text)) return text;
  return mapUrls(text, (url, hasScheme) => {
    if (part === "none") return "…";
    if (hasScheme) return String(reduceUrl(url, part) ?? "…");
    const end = url.search(part === "path" ? /[?#]/ : /[/?#]/);
    return withoutUser(end === -1 ? url : url.slice(0, end));
  });
}

/** The URLs that stand in a text. */
export function urlsIn(text: string): string[] {
  const urls: string[] = [];
  if (/[/?#]/.test(text)) {
    mapUrls(text, (url) => {
      urls.push(url);
      return url;
    });
  }
  return urls;
}

/** Puts what `map` makes of each URL in its place. */
function mapUrls(text: string, map: (url: string, hasScheme: boolean) => string): string {
  return text.split(/([\s<>"]+)/).map((word) => {
    if (word === "" || BOUNDARY.test(word[0]!)) return word;
    const found = urlStart(word);
    return found === undefined ? word : word.slice(0, found.at) + map(word.slice(found.at), found.hasScheme);
  }).join("");
}

/** Where the first URL begins in a word; it goes on to the word's end. */
function urlStart(word: string): { at: number; hasScheme: boolean } | undefined {
  let from = 0;
  for (let i = 0; i < word.length; i++) {
    const sign = word[i]!;
    if (sign !== "/" && sign !== "?" && sign !== "#") continue;
    if (word.startsWith("//", i) && word[i - 1] === ":") {
      const at = backTo(word, from, i - 1, SCHEME_BEFORE);
      if (at < i - 1) return { at, hasScheme: true };
    }
    const at = backTo(word, from, i, HOST_BEFORE);
    if (i + 1 < word.length && HOST.test(word.slice(at, i).replace(/^.*@/, ""))) {
      return { at, hasScheme: false };
    }
    from = i + 1;
  }
}

/** How far back from `end`, but not before `from`, the characters are all of one kind. */
function backTo(word: string, from: number, end: number, kind: RegExp): number {
  let at = end;
  while (at > from && kind.test(word[at - 1]!)) at--;
  return at;
}

/** What may be hosts in a text, in lower case. */
export function hostsIn(text: string): string[] {
  return text.toLowerCase().split(/[^\p{L}\p{N}_.-]+/u)
    .map((word) => word.replace(/^\.+|\.+$/g, ""))
    .filter((word) => word === "localhost" || word.includes("."));
}

/**
 * The names that a URL's host goes by: as the URL standard writes it, and as it stands in the text. None where there
 * is no host.
 */
export function hostsOf(url: string): string[] {
  let rest = url.trimStart();
  while (/^(?:view-source|blob|filesystem):/i.test(rest)) rest = rest.slice(rest.indexOf(":") + 1);
  const hosts = new Set<string>();
  const parsed = URL.parse(rest);
  if (parsed !== null && parsed.hostname !== "") hosts.add(parsed.hostname);
  const written = /^(?:[a-z][a-z0-9+.-]*:)?[/\\]{2}(?:[^/\\?#]*@)?(\[[^\]]*\]|[^/\\?#:]*)/i.exec(rest)?.[1];
  if (written) hosts.add(written.toLowerCase());
  return [...hosts].map((host) => host.replace(/\.$/, ""));
}
