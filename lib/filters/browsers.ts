/**
 * Browsers by the names that their windows go by, in lower case and without `.exe`; a name that begins with one of
 * them is that browser's as well (`firefox-esr`, `google-chrome-beta`). After the lists of ActivityWatch's own web
 * interface.
 */
const FAMILIES: Readonly<Record<string, readonly string[]>> = {
  chrome: ["google-chrome", "google chrome", "chrome", "com.google.chrome"],
  chromium: ["chromium", "ungoogled-chromium", "ungoogled_chromium", "org.chromium", "cromite", "thorium"],
  firefox: ["firefox", "mozilla firefox", "org.mozilla.", "nightly", "navigator"],
  librewolf: ["librewolf", "io.gitlab.librewolf"],
  waterfox: ["waterfox", "net.waterfox"],
  zen: ["zen browser", "zen-browser", "zen-alpha", "zen-beta", "app.zen_browser", "zen"],
  floorp: ["floorp", "one.ablaze.floorp"],
  tor: ["tor browser", "tor-browser", "torbrowser", "mullvad browser", "mullvadbrowser"],
  edge: ["msedge", "microsoft edge", "microsoft-edge", "com.microsoft.edge"],
  brave: ["brave", "com.brave."],
  opera: ["opera", "com.operasoftware"],
  vivaldi: ["vivaldi", "com.vivaldi"],
  safari: ["safari", "com.apple.safari"],
  arc: ["arc", "company.thebrowser", "dia"],
  orion: ["orion"],
  yandex: ["yandex", "ru.yandex"],
  epiphany: ["epiphany", "org.gnome.epiphany", "gnome web"],
  falkon: ["falkon", "konqueror", "qutebrowser", "midori", "iexplore", "internet explorer", "duckduckgo"],
};
/** Names that are too short or too common to be taken for a beginning. */
const WHOLE = new Set(["arc", "dia", "zen", "navigator", "nightly", "orion", "opera", "safari"]);
/** Browsers that share an engine's extension and so write to its bucket when theirs is not told apart. */
const KIN: Readonly<Record<string, readonly string[]>> = {
  chrome: ["chromium", "edge", "brave", "opera", "vivaldi", "arc", "yandex"],
  firefox: ["librewolf", "waterfox", "zen", "floorp", "tor"],
};
/** What browsers write in the title of a private window, in the languages most spoken. */
const PRIVATE =
  /incognito|inprivate|inkognito|private browsing|private window|privater modus|privates fenster|navigation privée|navegación privada|navegação (?:privada|anónima|anônima)|navigazione anonima|anonima|privénavigatie|privat browsing|tryb prywatny|приватный|инкогнито|シークレット|プライベート|无痕|無痕|隐身|隱私|시크릿|[([](?:private|privat|privado|privé|privata)[)\]]|^private$/iu;
/** Where they write it: at the end, after the page's own title. */
const TAIL = /\s[-–—|]\s([^-–—|]*)$/u;
const IN_PRIVATE = /\[InPrivate\]/;

/**
 * The browser of an application's name, or `undefined` when it is none that is known.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { browserOfApp } from "./browsers.ts";
 *
 * assert.equal(browserOfApp("Firefox.exe"), "firefox");
 * assert.equal(browserOfApp("Code"), undefined);
 * ```
 */
export function browserOfApp(app: string): string | undefined {
  if (!seen.has(app)) {
    // Applications are few; what is many is no application.
    if (seen.size >= MAX_SEEN) seen.clear();
    seen.set(app, findBrowser(app));
  }
  return seen.get(app);
}

const MAX_SEEN = 1000;
const seen = new Map<string, string | undefined>();

function findBrowser(app: string): string | undefined {
  const name = app.trim().toLowerCase().replace(/\.exe$/, "");
  for (const [family, names] of Object.entries(FAMILIES)) {
    if (names.some((known) => WHOLE.has(known) ? name === known : name.startsWith(known))) return family;
  }
  // An unknown one that says what it is.
  return /browser|firefox|chrom(?:e|ium)/.test(name) ? "unknown" : undefined;
}

/** The browser whose pages a web bucket holds, such as `firefox` of `aw-watcher-web-firefox_laptop`. */
export function browserOfBucket(id: string): string | undefined {
  const name = /^aw-watcher-web-([a-z]+)/i.exec(id)?.[1]?.toLowerCase();
  return name === undefined || !(name in FAMILIES) ? undefined : name;
}

/** Tells whether windows of an application may show the pages of a web bucket. Where it cannot be known, they may. */
export function mayShow(app: string, bucketId: string): boolean {
  const ofApp = browserOfApp(app);
  if (ofApp === undefined) return false;
  const ofBucket = browserOfBucket(bucketId);
  return ofApp === "unknown" || ofBucket === undefined || ofApp === ofBucket ||
    KIN[ofBucket]?.includes(ofApp) === true;
}

/** The names that the application behind a web bucket may go by. */
export function appsOfBucket(id: string): readonly string[] {
  const browser = browserOfBucket(id);
  return browser === undefined ? [] : [browser, ...FAMILIES[browser]!];
}

/**
 * Tells whether a browser's window says by its title that it is private. A page that is about such windows does not.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { saysPrivate } from "./browsers.ts";
 *
 * assert.equal(saysPrivate("firefox", "News — Mozilla Firefox Private Browsing"), true);
 * assert.equal(saysPrivate("firefox", "Private browsing explained — Mozilla Firefox"), false);
 * ```
 */
export function saysPrivate(app: string, title: string): boolean {
  const tail = title.slice(-MAX_TAIL);
  return (PRIVATE.test(TAIL.exec(tail)?.[1] ?? "") || IN_PRIVATE.test(tail)) &&
    browserOfApp(app) !== undefined;
}

/** Longer than what any browser writes after a title. */
const MAX_TAIL = 100;
