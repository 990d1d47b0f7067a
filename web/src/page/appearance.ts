// How the page and the terminal look on this machine: theme, font size, renderer, screen reader.
// Kept in localStorage; nothing here is a secret.

import type { ITheme } from "@xterm/xterm";

export type ThemeName = "dark" | "light" | "contrast";

export interface Appearance {
  /** `system` follows the machine. */
  theme: ThemeName | "system";
  /** In CSS pixels. */
  fontSize: number;
  /** WebGL where there is one, or plain elements always. */
  renderer: "auto" | "dom";
  screenReader: boolean;
}

export const FONT_SIZE_MIN = 8;
export const FONT_SIZE_MAX = 32;
const KEY = "shellgate.appearance";
const DEFAULT: Appearance = {
  theme: "system",
  fontSize: 14,
  renderer: "auto",
  screenReader: false,
};

export const THEMES: Record<ThemeName, ITheme> = {
  dark: {
    background: "#0e1518",
    foreground: "#d7e0e2",
    cursor: "#7fd6c5",
    cursorAccent: "#0e1518",
    selectionBackground: "#2c5860",
    scrollbarSliderBackground: "#d7e0e230",
    scrollbarSliderHoverBackground: "#d7e0e250",
    scrollbarSliderActiveBackground: "#d7e0e270",
    black: "#1d282c",
    red: "#ec7c7c",
    green: "#8ecf8a",
    yellow: "#e2c376",
    blue: "#7fb2ee",
    magenta: "#c99be8",
    cyan: "#74cdd0",
    white: "#c8d3d6",
    brightBlack: "#71858b",
    brightRed: "#ff9d9d",
    brightGreen: "#aee6aa",
    brightYellow: "#f5da96",
    brightBlue: "#a4caf9",
    brightMagenta: "#dcb8f5",
    brightCyan: "#98e4e6",
    brightWhite: "#f3f7f8",
  },
  light: {
    background: "#fcfcfa",
    foreground: "#23302f",
    cursor: "#0b7a6c",
    cursorAccent: "#fcfcfa",
    selectionBackground: "#bfe3dc",
    scrollbarSliderBackground: "#23302f28",
    scrollbarSliderHoverBackground: "#23302f48",
    scrollbarSliderActiveBackground: "#23302f68",
    black: "#23302f",
    red: "#b3261e",
    green: "#2d7031",
    yellow: "#8a6100",
    blue: "#1f5fa8",
    magenta: "#86399e",
    cyan: "#0d6e78",
    white: "#687573",
    brightBlack: "#7b8886",
    brightRed: "#c9372e",
    brightGreen: "#3b8440",
    brightYellow: "#9d7100",
    brightBlue: "#2f73c2",
    brightMagenta: "#9b4bb5",
    brightCyan: "#16808b",
    brightWhite: "#3b4947",
  },
  contrast: {
    background: "#000000",
    foreground: "#ffffff",
    cursor: "#ffff00",
    cursorAccent: "#000000",
    selectionBackground: "#ffff00",
    selectionForeground: "#000000",
    scrollbarSliderBackground: "#ffffff80",
    scrollbarSliderHoverBackground: "#ffffffb0",
    scrollbarSliderActiveBackground: "#ffffff",
    black: "#000000",
    red: "#ff8080",
    green: "#60ff60",
    yellow: "#ffff60",
    blue: "#8fb8ff",
    magenta: "#ff90ff",
    cyan: "#60ffff",
    white: "#ffffff",
    brightBlack: "#b0b0b0",
    brightRed: "#ffa0a0",
    brightGreen: "#90ff90",
    brightYellow: "#ffff90",
    brightBlue: "#b0d0ff",
    brightMagenta: "#ffb0ff",
    brightCyan: "#90ffff",
    brightWhite: "#ffffff",
  },
};

/** How what a person looks for stands out: all of it, and the one that they have got to. */
export const FOUND: Record<ThemeName, { all: string; current: string; currentText: string }> = {
  dark: { all: "#5c4d16", current: "#ffb74d", currentText: "#1d1400" },
  light: { all: "#f4e19b", current: "#b35c00", currentText: "#ffffff" },
  contrast: { all: "#004a80", current: "#ffff00", currentText: "#000000" },
};

/** The fonts of a terminal; all of them are the machine's own. */
export const TERMINAL_FONT =
  'ui-monospace, "SF Mono", "Cascadia Mono", "JetBrains Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace';

export function loadAppearance(store: Storage): Appearance {
  let kept: Partial<Appearance> = {};
  try {
    kept = JSON.parse(store.getItem(KEY) ?? "{}") as Partial<Appearance>;
  } catch {
    // Somebody else's text under our key: the defaults serve.
  }
  const appearance = { ...DEFAULT };
  const { theme, fontSize, renderer, screenReader } = kept;
  if (theme === "dark" || theme === "light" || theme === "contrast") appearance.theme = theme;
  if (typeof fontSize === "number") appearance.fontSize = legalFontSize(fontSize);
  if (renderer === "dom") appearance.renderer = renderer;
  if (screenReader === true) appearance.screenReader = true;
  return appearance;
}

export function saveAppearance(store: Storage, appearance: Appearance): void {
  store.setItem(KEY, JSON.stringify(appearance));
}

export function legalFontSize(size: number): number {
  const whole = Number.isFinite(size) ? Math.round(size) : DEFAULT.fontSize;
  return Math.min(FONT_SIZE_MAX, Math.max(FONT_SIZE_MIN, whole));
}

/** The theme that is meant on this machine now. */
export function themeOf(appearance: Appearance, page: Window): ThemeName {
  if (appearance.theme !== "system") return appearance.theme;
  if (page.matchMedia("(prefers-contrast: more)").matches) return "contrast";
  return page.matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
}
