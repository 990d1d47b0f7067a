// How high a row of the terminal is for its font, so that nothing is cut off below. Knows no
// terminal.

/** Rounding must not take the pixel away that was added. */
const EPSILON = 0.001;

/** What `lineHeight` of xterm.js a font needs. It gives a row the font's ascent and descent, which
 * browsers round to whole pixels: at some sizes that is less than what an underscore reaches down
 * to, and what hangs over a row is hidden. No more than is needed, or box drawing has gaps. */
export function lineHeight(fontFamily: string, fontSize: number): number {
  const context = document.createElement("canvas").getContext("2d");
  if (context === null) return 1;
  context.font = `${fontSize}px ${fontFamily}`;
  const { fontBoundingBoxAscent, fontBoundingBoxDescent, actualBoundingBoxDescent } =
    context.measureText("_");
  const row = fontBoundingBoxAscent + fontBoundingBoxDescent;
  const missing = Math.ceil(actualBoundingBoxDescent - fontBoundingBoxDescent);
  return row > 0 && missing > 0 ? (row + missing) / row + EPSILON : 1;
}
