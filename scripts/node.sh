# Node for the terminal page: the machine's own where it is new enough, else one from the npm
# registry in .tools, which needs no rights. Sourced after setup.sh.

node_oldest=20
node_version=22.23.3
npm_version=10.9.9

# SHA-512 of the registry's packages, so that what runs here is what was looked at.
node_x64_sum=a879f3e6d16c1e88ff58cfae4443558d638d8b9855be6c2b82af00e15efa2a9b95340738fa3c0af31e20c1ba1b13d06d1cd83f00a476e7cdde628acb17f73b9e
node_arm64_sum=9770c01d9adeca5a3ea7d4170edb0eae31b625726a5736179c01a621034e50d01170ca694ced9c99ec1540ffb7ead8c99d213e773a4c36d816f9cde8883bd7b4
npm_sum=d60fba8cb42f688b81e33c2f1cbef2ad7b977166700ec0ad057f1b6d60ea6ef2524abf673e20c35931cd8305d1dbb8887134d6eefdc0e7b8435bd458bf65b862

no_node="Node $node_oldest or newer is missing and could not be fetched. Install it: https://nodejs.org"

have_node() {
    have node && have npm &&
        [ "$(node -p "process.versions.node.split('.')[0] >= $node_oldest")" = true ]
}

# fetch_package NAME VERSION SHA512 DIRECTORY: a registry package, checked, and unpacked there.
fetch_package() {
    archive=.tools/$1.tgz
    download "${NPM_CONFIG_REGISTRY:-https://registry.npmjs.org}/$1/-/$1-$2.tgz" "$archive" &&
        echo "$3  $archive" | sha512sum --check --quiet &&
        mkdir -p "$4" &&
        tar -xzf "$archive" -C "$4" --strip-components=1 &&
        rm -f "$archive"
}

fetch_node() {
    case $(uname -m) in
    x86_64) arch=x64 sum=$node_x64_sum ;;
    aarch64) arch=arm64 sum=$node_arm64_sum ;;
    *) return 1 ;;
    esac
    have curl || have wget || install_packages curl ca-certificates || return 1
    say "Getting Node $node_version into .tools (npm registry, 52 MB, once)"
    rm -rf .tools/node
    mkdir -p .tools
    fetch_package "node-linux-$arch" "$node_version" "$sum" .tools/node &&
        fetch_package npm "$npm_version" "$npm_sum" .tools/node/lib/node_modules/npm &&
        ln -s ../lib/node_modules/npm/bin/npm-cli.js .tools/node/bin/npm &&
        ln -s ../lib/node_modules/npm/bin/npx-cli.js .tools/node/bin/npx
}

# Says by its status whether there is a Node that the page's tools run on.
want_node() {
    have_node && return 0
    [ -x .tools/node/bin/npx ] || fetch_node || return 1
    PATH="$PWD/.tools/node/bin:$PATH"
    export PATH
    # It trusts its own list of authorities only; what this machine trusts fetched it.
    authorities=/etc/ssl/certs/ca-certificates.crt
    if [ -z "${NODE_EXTRA_CA_CERTS-}" ] && [ -e "$authorities" ]; then
        NODE_EXTRA_CA_CERTS=$authorities
        export NODE_EXTRA_CA_CERTS
    fi
    have_node
}
