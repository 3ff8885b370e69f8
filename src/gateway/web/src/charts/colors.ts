/** The style sheet's colours for a canvas, which cannot read custom properties by itself. */
export function color(name: string): string {
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

const probe = document.createElement("span");
probe.hidden = true;
document.documentElement.append(probe);
