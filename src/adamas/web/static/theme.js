// Before anything is drawn: the theme that was chosen on an earlier visit, else the system's, so that the page does not flash.
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
let chosenTheme = "auto";

/** Put a theme on: light, dark, or auto, which follows the system. */
function putOnTheme(choice) {
  chosenTheme = choice;
  document.documentElement.dataset.theme = choice !== "auto" ? choice : systemIsDark.matches ? "dark" : "light";
  document.dispatchEvent(new Event("theme"));
}

try {
  chosenTheme = localStorage.getItem("adamas.theme") ?? "auto";
} catch {
  // a browser that keeps nothing gets the theme of the system
}
putOnTheme(["light", "dark"].includes(chosenTheme) ? chosenTheme : "auto");
systemIsDark.addEventListener("change", () => putOnTheme(chosenTheme));
