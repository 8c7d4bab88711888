// Before anything is drawn: the theme that was chosen on an earlier visit, so that the page does not flash.
try {
  const theme = localStorage.getItem("adamas.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // a browser that keeps nothing gets the theme of the system
}
