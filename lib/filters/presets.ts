import type { RuleText } from "./rule.ts";

/** The names of the presets, from the one that lets most leave to the one that lets least. */
export const PRESET_NAMES = ["full", "standard", "work", "minimal"] as const;
export type PresetName = typeof PRESET_NAMES[number];

/** What each preset lets leave, in words. */
export const PRESET_WORDS: Readonly<Record<PresetName, string>> = {
  full: "everything leaves as ActivityWatch has it",
  standard:
    "URLs leave without query and fragment, private windows do not leave (PRIVACY_PRESET=full sends all)",
  work:
    "URLs leave as their origin, titles of password managers and messengers are redacted, private windows do not leave",
  minimal: "applications and times leave; titles, URLs, web pages and private windows do not",
};

const PRIVATE_WINDOWS: RuleText = { name: "private windows", incognito: true, action: "drop" };

/** Programs whose titles are other people's names or one's own secrets. */
const PERSONAL_APPS = [
  ..."*keepass* *1password* *bitwarden* *lastpass* *dashlane* *enpass* *protonpass* seahorse*".split(" "),
  "proton pass*",
  ..."*signal* *whatsapp* *telegram* *threema* *viber* *wechat* messages* discord*".split(" "),
];

/** The rules of each preset. They come after the user's own. */
export const PRESETS: Readonly<Record<PresetName, readonly RuleText[]>> = {
  full: [],
  standard: [
    PRIVATE_WINDOWS,
    { name: "query and fragment of URLs", action: "url-path" },
  ],
  work: [
    PRIVATE_WINDOWS,
    { name: "password managers and messengers", app: PERSONAL_APPS, action: "redact" },
    { name: "origin of URLs", action: "url-origin" },
  ],
  minimal: [
    PRIVATE_WINDOWS,
    { name: "web pages", bucket: "web.tab.current", action: "drop" },
    { name: "titles", action: "redact" },
  ],
};
