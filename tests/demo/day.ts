/** The day that the demo plays: what stands on the screen at each second, and when nobody is there. */

/** What stands on the screen. */
export interface Screen {
  readonly app: string;
  readonly title: string;
  /** The page, where a browser is in front. */
  readonly url?: string;
}

/** A stretch of the day with one screen; without one nobody is at the machine. */
export interface Stretch {
  readonly fromS: number;
  readonly toS: number;
  readonly screen: Screen;
  readonly away?: boolean;
}

/** Seconds from the day's midnight. */
export function clockTime(hours: number, minutes = 0): number {
  return hours * 3600 + minutes * 60;
}

const page = (title: string, path: string): Screen => ({
  app: "Firefox",
  title: `${title} — Mozilla Firefox`,
  url: `https://example.org/${path}`,
});
const SCREENS = {
  mail: [
    { app: "Thunderbird", title: "Inbox" },
    { app: "Thunderbird", title: "Write: Minutes of Monday" },
    page("Team calendar", "calendar"),
  ],
  code: [
    { app: "Code", title: "garden.ts — allotment" },
    { app: "Code", title: "garden_test.ts — allotment" },
    { app: "Terminal", title: "deno test" },
    page("Array — reference", "reference/array"),
    page("Pull request 12", "allotment/pull/12"),
  ],
  meeting: [
    { app: "Meet", title: "Weekly round" },
    { app: "Notes", title: "Weekly round, notes" },
  ],
  reading: [
    page("How tomatoes grow", "tomatoes"),
    page("Sowing calendar", "sowing"),
    page("Weather for the week", "weather"),
    { app: "Files", title: "Documents" },
  ],
  report: [
    { app: "Writer", title: "Spring report.odt" },
    { app: "Calc", title: "Seeds and beds.ods" },
    page("Sowing calendar", "sowing"),
  ],
} as const satisfies Record<string, readonly Screen[]>;

const PLAN: readonly [from: number, to: number, what: keyof typeof SCREENS | "away"][] = [
  [clockTime(8), clockTime(8, 40), "mail"],
  [clockTime(8, 40), clockTime(10, 5), "code"],
  [clockTime(10, 5), clockTime(10, 20), "away"],
  [clockTime(10, 20), clockTime(11, 15), "meeting"],
  [clockTime(11, 15), clockTime(12, 30), "code"],
  [clockTime(12, 30), clockTime(13, 15), "away"],
  [clockTime(13, 15), clockTime(14), "reading"],
  [clockTime(14), clockTime(15, 20), "report"],
  [clockTime(15, 20), clockTime(15, 35), "away"],
  [clockTime(15, 35), clockTime(17, 10), "code"],
  [clockTime(17, 10), clockTime(17, 45), "mail"],
  [clockTime(17, 45), clockTime(18), "reading"],
];

/** When the watchers begin and end. */
export const DAY = { fromS: clockTime(8), toS: clockTime(18) };

/**
 * Makes the day: screens that follow one another, some looked at for minutes and many for a few seconds only.
 * The same `seed` gives the same day.
 */
export function makeDay(seed: number): Stretch[] {
  const random = mulberry32(seed);
  const day: Stretch[] = [];
  let last: Screen = SCREENS.mail[0];
  for (const [fromS, toS, what] of PLAN) {
    if (what === "away") {
      day.push({ fromS, toS, screen: last, away: true });
      continue;
    }
    let at = fromS;
    while (at < toS) {
      const screens = SCREENS[what].filter((screen) => screen !== last);
      const screen = screens[Math.floor(random() * screens.length)]!;
      const roll = random();
      const seconds = roll < 0.25 ? 1 + random() * 5 : roll < 0.8 ? 8 + random() * 80 : 90 + random() * 300;
      const end = Math.min(toS, at + Math.round(seconds));
      day.push({ fromS: at, toS: end, screen });
      last = screen;
      at = end;
    }
  }
  return day;
}

function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
