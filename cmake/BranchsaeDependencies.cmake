# Third-party libraries that several folders use; a folder finds what only it needs itself. README says what each is
# for. Static libraries pass theirs on to whatever links them, so every folder must see the imported targets.
set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)
find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(fmt 9 REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
