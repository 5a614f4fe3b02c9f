<?php
// Pages that some may see and pages that all may, as scripts of PHP tell them apart, by each of the usual readings of
// the path. It knows nothing of the gateway.
$raw = explode('?', $_SERVER['REQUEST_URI'], 2)[0];
$parsed = (string) parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
$protected = '#^/(admin(/.*)?|users/[^/]+/edit|secret\.page|café)/?$#sD';
foreach ([$raw, rawurldecode($raw), urldecode($raw), $parsed, rawurldecode($parsed), $_SERVER['SCRIPT_NAME']] as $path) {
    if (preg_match($protected, $path)) {
        exit('protected');
    }
}
echo 'public';
